"""A token drawn from those that are likely enough by themselves.

Hewitt et al. 2022, https://arxiv.org/abs/2210.15191, section 4 (epsilon sampling).
(Name your own source here, and what you do otherwise.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude import plugin, require
from etude.config import DecodingConfig
from etude.network import Decoding, repetition_penalised, sample_token


@dataclass
class SketchConfig(DecodingConfig):
    epsilon: float = 3e-4
    """Tokens with a smaller probability are not drawn, but for the likeliest, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.epsilon < 1, f"epsilon must be in [0, 1), got {self.epsilon}")


@plugin(SketchConfig)
class Sketch(Decoding):
    """Sets the scores of tokens that are too unlikely to -inf, then samples."""

    def __init__(self, config: SketchConfig) -> None:
        self.config = config

    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        scores = repetition_penalised(logits, seen, self.config.repetition_penalty)
        shares = scores.softmax(dim=-1)
        low = (shares < self.config.epsilon) & (shares < shares.amax(dim=-1, keepdim=True))
        return scores.masked_fill(low, -torch.inf)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)
