"""Locally typical sampling: keeps the tokens whose information is near the entropy.

Meister et al. 2022, https://arxiv.org/abs/2202.00666, equation 5, with the token that crosses the
mass kept, as in transformers. Tokens are ranked by |-log p(token) - entropy|, so that the most
likely token may be excluded. The penalties and the temperature come first.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude import plugin, require
from etude.config import DecodingConfig
from etude.data import Tokenizer
from etude.network import Decoding, History, penalised, sample_token


@dataclass
class TypicalConfig(DecodingConfig):
    temperature: float = 1.0
    """Divides the logits; below 1 sharpens, above 1 flattens. Typical: 0.7-1."""
    mass: float = 0.9
    """Sample from the most typical tokens with this total probability, in (0, 1). Typical:
    0.2-0.95; lower for stories, higher for summaries."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(0 < self.mass < 1, f"mass must be in (0, 1), got {self.mass}")


def keep_typical(scores: Float[Tensor, "batch vocab"], mass: float) -> Float[Tensor, "batch vocab"]:
    """Keeps the most typical tokens of each row, up to a total probability; the rest is -inf."""
    log_probs = scores.log_softmax(dim=-1)
    entropy = -(log_probs * log_probs.exp()).nansum(dim=-1, keepdim=True)  # nats; 0 log 0 = 0
    order = (log_probs + entropy).abs().argsort(dim=-1)
    ordered = log_probs.exp().gather(-1, order)
    outside = ordered.cumsum(dim=-1) - ordered >= mass
    return scores.masked_fill(outside.scatter(-1, order, outside), -torch.inf)


@plugin(TypicalConfig)
class Typical(Decoding):
    """Sets the scores of untypical tokens to -inf, then samples."""

    def __init__(self, config: TypicalConfig, tokenizer: Tokenizer) -> None:
        self.config = config

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        config = self.config
        return keep_typical(penalised(logits, history, config) / config.temperature, config.mass)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)
