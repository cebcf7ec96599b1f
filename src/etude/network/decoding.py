"""The group `decoding`: how the next token is chosen."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Decoding(ABC):
    """The group `decoding`: turns logits into a distribution, and that into the next token."""

    @abstractmethod
    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        """Returns the logits that the next token is sampled from; -inf is never sampled.

        `logits` are at least fp32. `seen` marks the ids in each row: the generated ones and the
        prompt's, without padding. If the prompt is a source, its ids do not count.
        """

    @abstractmethod
    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """Returns one token per row of `scores`; `draw` is a uniform number in [0, 1) per row."""


class Greedy(Decoding):
    """The most likely token."""

    def __init__(self, repetition_penalty: float = 1.0) -> None:
        self.repetition_penalty = repetition_penalty

    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        return repetition_penalised(logits, seen, self.repetition_penalty)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return scores.argmax(dim=-1)


class Ancestral(Decoding):
    """A token sampled from softmax(logits / temperature)."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        return logits / self.temperature

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)


def sample_token(
    scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """Samples one token per row from softmax(scores), by inverting the CDF at `draw`."""
    cdf = scores.softmax(dim=-1).cumsum(dim=-1)
    end = cdf[:, -1:]
    below = torch.nextafter(end, torch.zeros_like(end))  # a draw may round up to 1
    threshold = torch.minimum(draw[:, None].to(cdf.dtype) * end, below)
    return torch.searchsorted(cdf, threshold, right=True)[:, 0]


def repetition_penalised(
    logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"], penalty: float
) -> Float[Tensor, "batch vocab"]:
    """Divides positive logits of seen tokens by the penalty, and multiplies negative ones by it."""
    if penalty == 1.0:
        return logits
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)
