"""Layers that add a loss and metrics of their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor, nn


class AuxiliaryLoss(nn.Module, ABC):
    """A layer with something of its own to say about a step, beside its output."""

    real: Bool[Tensor, "batch seq"] | None = None
    """Which tokens of this pass are not padding; None = all. The stack says so."""

    @abstractmethod
    def pop(self) -> Float[Tensor, ""] | None:
        """Returns what it adds to the loss: a sum over the real tokens since the last call."""

    @abstractmethod
    def end_step(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Called once a step, after the gradients; returns what to log of the step, by name.

        `over_ranks` sums a tensor over the data-parallel processes.
        """
