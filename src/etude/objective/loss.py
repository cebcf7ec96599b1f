"""The return type of `loss`: sums, never means, so that they are exact however a batch is cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Num
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A sum over what the objective's `count(batch)` counts, so that means stay exact.

    `total` carries the gradient; `metrics` are detached sums over the same count.
    """

    total: Float[Tensor, ""]
    metrics: Mapping[str, Num[Tensor, ""]] = field(default_factory=dict[str, Tensor])
