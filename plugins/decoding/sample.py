"""Ancestral sampling with a temperature, optionally from the top k tokens or the nucleus only.

Top-k: Fan et al. 2018, https://arxiv.org/abs/1805.04833. Top-p: Holtzman et al. 2019,
https://arxiv.org/abs/1904.09751; the token that crosses p is kept, as in the reference code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude import plugin
from etude.contracts import Decoding
from etude.functional import wide
from etude.generation import Ancestral
from etude.schema import DecodingConfig, require


@dataclass
class SampleConfig(DecodingConfig):
    temperature: float = 0.8
    """Divides the logits; below 1 sharpens, above 1 flattens."""
    top_k: int | None = None
    """Draw from this many likeliest tokens; null = from all."""
    top_p: float = 1.0
    """Draw from the fewest likeliest tokens that hold this probability, in (0, 1]."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(
            self.top_k is None or self.top_k >= 1,
            f"top_k must be at least 1 or null, got {self.top_k}",
        )
        require(0 < self.top_p <= 1, f"top_p must be in (0, 1], got {self.top_p}")


@plugin(SampleConfig)
class Sample(Decoding):
    """Sets the logits outside top-k and top-p to -inf, then samples."""

    def __init__(self, config: SampleConfig) -> None:
        self.config = config
        self.ancestral = Ancestral(config.temperature)

    def choose(
        self, logits: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        config, logits = self.config, wide(logits)
        if config.top_k is not None:
            least = logits.topk(min(config.top_k, logits.shape[-1])).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if config.top_p < 1:
            ordered, order = (logits / config.temperature).softmax(-1).sort(descending=True)
            outside = ordered.cumsum(-1) - ordered >= config.top_p
            logits = logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
        return self.ancestral.choose(logits, draw)
