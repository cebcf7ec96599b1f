"""Ancestral sampling from the tempered distribution, optionally truncated.

Top-k: Fan et al. 2018, https://arxiv.org/abs/1805.04833. Top-p: Holtzman et al. 2019,
https://arxiv.org/abs/1904.09751; the token that crosses p is kept, as in the reference code. Min-p:
Nguyen et al. 2024, https://arxiv.org/abs/2407.01082. The order is that of transformers: repetition
penalty, n-gram blocking, temperature, top-k, top-p, min-p, each applied to the result of the
previous one.
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
class SampleConfig(DecodingConfig):
    temperature: float = 0.8
    """Divides the logits; below 1 sharpens, above 1 flattens. Typical: 0.7-1."""
    top_k: int | None = None
    """Sample from this many most likely tokens; null = all."""
    top_p: float = 1.0
    """Sample from the fewest most likely tokens with this total probability, in (0, 1]; 1 = all."""
    min_p: float = 0.0
    """Sample from tokens with at least this fraction of the top probability, in [0, 1]; 0 = all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(
            self.top_k is None or self.top_k >= 1,
            f"top_k must be at least 1 or null, got {self.top_k}",
        )
        require(0 < self.top_p <= 1, f"top_p must be in (0, 1], got {self.top_p}")
        require(0 <= self.min_p <= 1, f"min_p must be in [0, 1], got {self.min_p}")


def keep_top_k(scores: Float[Tensor, "batch vocab"], k: int) -> Float[Tensor, "batch vocab"]:
    """Keeps the k highest scores of each row, with ties for the k-th; the rest is -inf."""
    threshold = scores.topk(min(k, scores.shape[-1])).values[:, -1:]
    return scores.masked_fill(scores < threshold, -torch.inf)


def keep_top_p(scores: Float[Tensor, "batch vocab"], p: float) -> Float[Tensor, "batch vocab"]:
    """Keeps the highest scores of each row up to a total probability of p; the rest is -inf."""
    ordered, order = scores.softmax(dim=-1).sort(descending=True)
    outside = ordered.cumsum(dim=-1) - ordered >= p
    return scores.masked_fill(outside.scatter(-1, order, outside), -torch.inf)


def keep_min_p(scores: Float[Tensor, "batch vocab"], p: float) -> Float[Tensor, "batch vocab"]:
    """Keeps tokens with at least p times the highest probability; the rest is -inf."""
    probs = scores.softmax(dim=-1)
    return scores.masked_fill(probs < p * probs.amax(dim=-1, keepdim=True), -torch.inf)


@plugin(SampleConfig)
class Sample(Decoding):
    """Sets the scores of excluded tokens to -inf, then samples."""

    def __init__(self, config: SampleConfig, tokenizer: Tokenizer) -> None:
        self.config = config

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        config = self.config
        scores = penalised(logits, history, config) / config.temperature
        if config.top_k is not None:
            scores = keep_top_k(scores, config.top_k)
        if config.top_p < 1:
            scores = keep_top_p(scores, config.top_p)
        if config.min_p > 0:
            scores = keep_min_p(scores, config.min_p)
        return scores

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)
