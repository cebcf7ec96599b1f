"""The shares of the sources of a mixture over a run: weights, temperature, budgets and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from etude import ConfigError
from etude.data import SourceSamples

from .order import MergedOrder

Array = Float[np.ndarray, " sources"]


@dataclass(frozen=True)
class Shares:
    """What a user asks for; see the knobs of the mixture."""

    weights: Sequence[tuple[float, Mapping[str, float]]]
    """Weights with the share of the run at which they are reached; the first is at 0."""
    temperature: float
    budgets: Mapping[str, float]
    max_epochs: float | None
    is_linear: bool


def merged_order(
    shares: Shares, sources: Mapping[str, SourceSamples], n_samples: int, seed: int
) -> MergedOrder:
    """The order of a run. Raises ConfigError if the sources or budgets do not fit its length."""
    sizes = np.array([len(one.indices) for one in sources.values()], dtype=float)
    means = np.array([one.mean_count for one in sources.values()])
    budgets = np.array([shares.budgets.get(name, np.inf) for name in sources])
    epochs = np.inf if shares.max_epochs is None else shares.max_epochs
    limits = np.minimum(np.ceil(budgets / means), np.round(sizes * epochs))
    has_budget = np.isfinite(budgets)
    fixed = np.where(has_budget, np.minimum(limits, n_samples) / n_samples, 0.0)
    if limits.sum() < n_samples or (not has_budget.all() and fixed.sum() > 1):
        raise _unfit(dict(zip(sources, limits, strict=True)), n_samples)
    if has_budget.all():
        fixed = limits / limits.sum()
    points = np.array([at for at, _ in shares.weights])
    rows = np.array([_weights(one, shares, sources, sizes * means) for _, one in shares.weights])

    def rates(progress: float, is_open: Bool[np.ndarray, " sources"]) -> Array:
        place = np.searchsorted(points, progress, side="right") - 1
        weights = rows[place]
        if shares.is_linear:
            weights = np.array([np.interp(progress, points, column) for column in rows.T])
        free = np.where(is_open, weights / means, 0.0)
        taken = np.where(is_open, fixed, 0.0)
        if free.sum() == 0:
            taken = taken if taken.sum() else is_open.astype(float)
            return taken / taken.sum()
        return taken + (1 - taken.sum()) * free / free.sum()

    indices = [one.indices for one in sources.values()]
    return MergedOrder(indices, rates, limits, n_samples, seed)


def _weights(
    given: Mapping[str, float],
    shares: Shares,
    sources: Mapping[str, SourceSamples],
    counts: Array,
) -> Array:
    """Normalised weights; 0 for sources with a budget. Without weights, by size."""
    weights = np.array([given.get(name, 0.0) for name in sources])
    if not given:
        is_free = np.array([name not in shares.budgets for name in sources])
        weights = np.where(is_free, (counts / counts.max()) ** (1 / shares.temperature), 0.0)
    return weights / (weights.sum() or 1.0)


def _unfit(limits: Mapping[str, float], n_samples: int) -> ConfigError:
    held = ", ".join(f"{n:,.0f} of {name}" for name, n in limits.items() if np.isfinite(n))
    return ConfigError(
        f"data=mixture cannot fill a run of {n_samples:,} samples: data.max_epochs and "
        f"data.budgets allow {held}.\n"
        "  Change data.max_epochs, data.budgets or the length of the run."
    )
