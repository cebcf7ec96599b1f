"""Stops the jobs of a sweep that are not among the best at a rung: asynchronous successive halving.

Li et al. 2018 (ASHA), https://arxiv.org/abs/1810.05934, section 3, in the form that stops jobs
instead of pausing them: a job is compared, when it reaches a rung, with those that have been there
before, so the first to come goes on. Without a sweep there is nobody to be behind.
"""

from dataclasses import dataclass

from etude import plugin, require
from etude.files import Curve

from ._pruning import Pruning, PruningConfig


@dataclass
class AshaConfig(PruningConfig):
    reduction: int = 3
    """One in so many goes on from a rung, and the next is so many times as far. Usual: 2 to 4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reduction >= 2, f"reduction must be at least 2, got {self.reduction}")


def reached(curve: Curve, rung: int) -> tuple[int, float] | None:
    """The first validation from the rung on: its step, and its value."""
    return next(((step, value) for step, value in curve.items() if step >= rung), None)


@plugin(AshaConfig)
class Asha(Pruning[AshaConfig]):
    """Compares a job once a rung."""

    def should_prune(self, own: Curve, rivals: list[Curve]) -> bool:
        now = max(own)
        rung = self.config.min_steps
        while rung <= now:
            here = reached(own, rung)
            if here is not None and here[0] == now and self._is_behind_at(rung, here[1], rivals):
                return True
            rung *= self.config.reduction
        return False

    def _is_behind_at(self, rung: int, value: float, rivals: list[Curve]) -> bool:
        others = [there[1] for rival in rivals if (there := reached(rival, rung)) is not None]
        places = max(1, (len(others) + 1) // self.config.reduction)
        best = self.config.best
        return sum(best.improves(other, value) or value != value for other in others) >= places
