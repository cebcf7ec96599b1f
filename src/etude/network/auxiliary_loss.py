"""Layers that add a loss and metrics of their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor, nn


class AuxiliaryLoss(nn.Module, ABC):
    """A layer that adds an auxiliary loss and metrics, such as MoE load balancing."""

    real: Bool[Tensor, "batch seq"] | None = None
    """Which tokens of the forward pass are not padding; None = all. Set by the stack."""

    @abstractmethod
    def pop(self) -> Float[Tensor, ""] | None:
        """Returns the auxiliary loss, summed over the non-padding tokens since the last call."""

    @abstractmethod
    def end_step(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Returns the metrics of the step, by name; called once per step, after the gradients.

        `over_ranks` sums a tensor over the data-parallel processes.
        """
