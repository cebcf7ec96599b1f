"""Epsilon sampling: excludes tokens whose probability is below a threshold.

Hewitt et al. 2022, https://arxiv.org/abs/2210.15191, section 4.
(Replace this with your source and your deviations from it.)
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
class SketchConfig(DecodingConfig):
    epsilon: float = 3e-4
    """Minimum probability of a token, in [0, 1); the most likely token is always kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.epsilon < 1, f"epsilon must be in [0, 1), got {self.epsilon}")


@plugin(SketchConfig)
class Sketch(Decoding):
    """Sets the scores of tokens below the threshold to -inf, then samples."""

    def __init__(self, config: SketchConfig, tokenizer: Tokenizer) -> None:
        self.config = config

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        scores = penalised(logits, history, self.config)
        probs = scores.softmax(dim=-1)
        low = (probs < self.config.epsilon) & (probs < probs.amax(dim=-1, keepdim=True))
        return scores.masked_fill(low, -torch.inf)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)
