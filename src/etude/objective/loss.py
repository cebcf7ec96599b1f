"""The return type of `loss`: sums instead of means, so that splitting a batch changes nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Num
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Sums over the items that the objective's `count(batch)` counts.

    `total` carries the gradient; `metrics` are detached sums over the same count.
    """

    total: Float[Tensor, ""]
    metrics: Mapping[str, Num[Tensor, ""]] = field(default_factory=dict[str, Tensor])
    rows: Float[Tensor, "sample ..."] | None = None
    """In validation, a detached row for each sample, for `HeadObjective.row_metrics`."""

    def __post_init__(self) -> None:
        for name, value in {"total": self.total, **self.metrics}.items():
            # A plugin's mistake: the annotations are not checked at run time.
            if not isinstance(value, Tensor) or value.ndim:  # pyright: ignore[reportUnnecessaryIsInstance]
                got = f"shape {[*value.shape]}" if isinstance(value, Tensor) else value
                raise TypeError(f"Loss: {name} must be a tensor without axes, a sum; got {got}.")


@dataclass
class BatchSums:
    """Detached sums over a global batch or a validation pass."""

    count: float = 0.0
    tokens: int = 0
    digest: str = ""
    own_counts: bool = False
    """Whether `report` divides the metrics by counts of their own, so that they need no count."""
    sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    auxiliary: dict[str, float] = field(default_factory=dict[str, float])
    """Metrics of this step from the layers with an auxiliary loss, by name."""

    def add(self, loss: Loss, tokens: int) -> None:
        """Adds a micro-batch."""
        if not isinstance(loss, Loss):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"loss must return Loss(total, metrics), got a {type(loss).__name__}")
        self.tokens += tokens
        for name, value in {"loss": loss.total.detach(), **loss.metrics}.items():
            value = value.double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def means(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Returns every sum over all ranks, divided by the count; NaN if nothing was counted."""
        divisor = self.count or (1.0 if self.own_counts else math.nan)
        stacked = over_ranks(torch.stack(list(self.sums.values()))) / divisor
        means = dict(zip(self.sums, stacked.tolist(), strict=True))
        return means if self.count else {**means, "loss": math.nan}
