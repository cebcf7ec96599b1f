"""Asynchronous successive halving: stops sweep jobs that are not among the best at a rung.

Li et al. 2018 (ASHA), https://arxiv.org/abs/1810.05934, section 3, in the variant that stops jobs
instead of pausing them: a job that reaches a rung is compared with those that reached it before, so
the first one always continues. It has no effect outside a sweep.
"""

from dataclasses import dataclass

from etude import plugin, require
from etude.files import Curve

from ._pruning import Pruning, PruningConfig


@dataclass
class AshaConfig(PruningConfig):
    reduction: int = 3
    """One in this many jobs continues at each rung; rungs grow by this factor. Typical: 2-4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reduction >= 2, f"reduction must be at least 2, got {self.reduction}")


def first_at_rung(curve: Curve, rung: int) -> tuple[int, float] | None:
    """Step and value of the first validation at or after the rung."""
    return next(((step, value) for step, value in curve.items() if step >= rung), None)


@plugin(AshaConfig)
class Asha(Pruning[AshaConfig]):
    """Compares a job once per rung."""

    def should_prune(self, own: Curve, others: list[Curve]) -> bool:
        step = max(own)
        rung = self.config.min_steps
        while rung <= step:
            here = first_at_rung(own, rung)
            if here is not None and here[0] == step and self._is_behind_at(rung, here[1], others):
                return True
            rung *= self.config.reduction
        return False

    def _is_behind_at(self, rung: int, value: float, jobs: list[Curve]) -> bool:
        others = [reached[1] for job in jobs if (reached := first_at_rung(job, rung)) is not None]
        n_promoted = max(1, (len(others) + 1) // self.config.reduction)
        best = self.config.best
        return sum(best.improves(other, value) or value != value for other in others) >= n_promoted
