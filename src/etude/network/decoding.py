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
        """Returns the logits of what the next token is drawn from; -inf is never drawn.

        `logits` are fp32 or wider. `seen` is true for the ids that a row holds: those written and
        the prompt's, without padding; where the prompt is a source, the start of the target.
        """

    @abstractmethod
    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """Returns one token a row of `scores`; `draw` is uniform in [0, 1), one number a row."""


class Greedy(Decoding):
    """The likeliest token."""

    def __init__(self, repetition_penalty: float = 1.0) -> None:
        self.repetition_penalty = repetition_penalty

    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        return penalised(logits, seen, self.repetition_penalty)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return scores.argmax(dim=-1)


class Ancestral(Decoding):
    """A token drawn from softmax(logits / temperature)."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        return logits / self.temperature

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return drawn(scores, draw)


def drawn(
    scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """A token a row from softmax(scores), by inverting the distribution at `draw`."""
    reached = scores.softmax(dim=-1).cumsum(dim=-1)
    end = reached[:, -1:]
    below = torch.nextafter(end, torch.zeros_like(end))  # a draw may round up to 1
    threshold = torch.minimum(draw[:, None].to(reached.dtype) * end, below)
    return torch.searchsorted(reached, threshold, right=True)[:, 0]


def penalised(
    logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"], penalty: float
) -> Float[Tensor, "batch vocab"]:
    """Logits of seen tokens divided by the penalty where positive, multiplied where negative."""
    if penalty == 1.0:
        return logits
    less = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, less, logits)
