"""The data mixing law: the held-out losses of a model as a function of the weights of its sources.

Ye et al. 2024, https://arxiv.org/abs/2403.16952, section 3: L_i(w) = c_i + k_i exp(sum_j t_ij w_j).
Weights add up to 1, so k_i only shifts every t_ij and is left out: n + 1 unknowns for n sources.
The fit minimises squared errors instead of the Huber loss, and searches c_i on a grid: for a given
c_i the law is linear in logarithms. So it has no starting point and no random numbers.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

N_CANDIDATES = 1000
LATTICE = 20
"""Trials are multiples of 1/20 before `equal_share`."""
N_GRID = 40
N_REFINEMENTS = 6
MIN_GAP = 0.01
"""Smallest distance of c_i to the lowest loss, as a share of the losses' range: noise can otherwise
place c_i on the lowest loss, where the exponential becomes a jump."""
N_STEPS = 3000
MAX_STEP = 1e6
MIN_SHARE = 1e-9

Weights = Float[np.ndarray, " sources"]


def trial_weights(
    n_sources: int, n_trials: int, equal_share: float, seed: int
) -> Float[np.ndarray, "trials sources"]:
    """The weights of the trials: each source alone, all equal, then points far from the others.

    `equal_share` of each trial is divided equally among the sources. More trials continue the list.
    """
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(n_sources), N_CANDIDATES)
    candidates = rng.multinomial(LATTICE, shares) / LATTICE
    points = [*np.eye(n_sources), np.full(n_sources, 1 / n_sources)]
    while len(points) < n_trials:
        to_points = np.linalg.norm(candidates[:, None] - np.array(points), axis=-1)
        points.append(candidates[to_points.min(axis=1).argmax()])
    return with_equal_share(np.array(points[:n_trials]), equal_share)


def with_equal_share(weights: Num[np.ndarray, "*trials sources"], equal_share: float) -> np.ndarray:
    """Moves weights towards equal ones: each becomes `equal_share / n_sources` or more."""
    return (1 - equal_share) * weights + equal_share / weights.shape[-1]


@dataclass(frozen=True)
class MixingLaw:
    """L_i(w) = constants_i + exp(exponents_i · w), in the unit of the losses, such as nats."""

    constants: Float[np.ndarray, " losses"]
    exponents: Float[np.ndarray, "losses sources"]

    def losses(
        self, weights: Float[np.ndarray, "*trials sources"]
    ) -> Float[np.ndarray, "*trials losses"]:
        """The predicted losses; the weights of a trial add up to 1."""
        return self.constants + np.exp(weights @ self.exponents.T)

    def optimum(self, targets: Float[np.ndarray, " losses"], equal_share: float) -> Weights:
        """The weights with the lowest `targets`-weighted sum of losses, where trials were run.

        By exponentiated gradient descent; the sum is convex, so there is no other minimum.
        """
        n = self.exponents.shape[1]
        shares, step = np.full(n, 1 / n), 1.0
        for _ in range(N_STEPS):
            weights = with_equal_share(shares, equal_share)
            slope = (targets * np.exp(weights @ self.exponents.T)) @ self.exponents
            moved = shares * np.exp(-step * (slope - slope.min()))
            moved = np.maximum(moved / moved.sum(), MIN_SHARE)  # can grow again later
            moved /= moved.sum()
            change = self.losses(with_equal_share(moved, equal_share)) - self.losses(weights)
            better = targets @ change <= 0
            shares, step = (moved, min(step * 1.5, MAX_STEP)) if better else (shares, step / 2)
        return with_equal_share(shares, equal_share)


def n_unknowns(n_sources: int) -> int:
    """The unknowns of the law of one loss, which is the fewest different trials of a fit."""
    return n_sources + 1


def fit_law(
    weights: Float[np.ndarray, "trials sources"], losses: Float[np.ndarray, "trials losses"]
) -> MixingLaw:
    """The law with the least squared errors. Raises ValueError if the trials do not determine it.

    The constants are 0 or more, as cross-entropies are.
    """
    n_sources = weights.shape[1]
    n_different = len(np.unique(weights, axis=0))
    if n_different < n_unknowns(n_sources) or np.linalg.matrix_rank(weights) < n_sources:
        raise ValueError(
            f"{n_different} different trials do not determine the {n_unknowns(n_sources)} unknowns "
            f"of the law of each loss"
        )
    if not (np.isfinite(losses) & (losses > 0)).all():
        raise ValueError("the losses must be finite and positive")
    parts = [_fit_one(weights, column) for column in losses.T]
    return MixingLaw(np.array([c for c, _ in parts]), np.array([t for _, t in parts]))


def _fit_one(
    weights: Float[np.ndarray, "trials sources"], losses: Float[np.ndarray, " trials"]
) -> tuple[float, Weights]:
    """The constant and the exponents of one loss."""
    lowest = high = losses.min()
    low = min(MIN_GAP * max(np.ptp(losses), 1e-6), lowest)
    for _ in range(N_REFINEMENTS):
        gaps = np.geomspace(low, high, N_GRID)
        errors = [
            np.square(lowest - gap + np.exp(weights @ _exponents(weights, losses, gap)) - losses)
            for gap in gaps
        ]
        best = int(np.sum(errors, axis=1).argmin())
        low, high = gaps[max(best - 1, 0)], gaps[min(best + 1, N_GRID - 1)]
    gap = math.sqrt(low * high)
    return lowest - gap, _exponents(weights, losses, gap)


def _exponents(
    weights: Float[np.ndarray, "trials sources"], losses: Float[np.ndarray, " trials"], gap: float
) -> Weights:
    """The exponents if the constant is `gap` below the lowest loss.

    An error of log(L - c) is one of L divided by L - c, so each trial is multiplied by L - c.
    """
    excess = losses - losses.min() + gap
    return np.linalg.lstsq(weights * excess[:, None], excess * np.log(excess), rcond=None)[0]
