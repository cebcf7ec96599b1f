"""The fit recovers a planted law, and the optimum is the lowest point of the law."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy.optimize import least_squares

from etude.experiments.mixing_law import (
    MixingLaw,
    fit_law,
    n_unknowns,
    trial_weights,
    with_equal_share,
)

EQUAL_SHARE = 0.2


def planted(n_sources: int, seed: int) -> MixingLaw:
    """A law in which each source lowers its own loss most."""
    rng = np.random.default_rng(seed)
    exponents = rng.normal(0.5, 0.6, (n_sources, n_sources)) - 1.5 * np.eye(n_sources)
    return MixingLaw(rng.uniform(0.5, 3, n_sources), exponents)


@pytest.mark.parametrize("n_sources", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_fit_recovers_a_planted_law(n_sources: int, seed: int) -> None:
    law = planted(n_sources, seed)
    weights = trial_weights(n_sources, n_unknowns(n_sources) + 2, EQUAL_SHARE, seed)
    fitted = fit_law(weights, law.losses(weights))
    assert fitted.constants == pytest.approx(law.constants, abs=1e-5)
    assert fitted.exponents == pytest.approx(law.exponents, abs=1e-5)


def test_the_fit_averages_noise_and_predicts_other_weights() -> None:
    rng = np.random.default_rng(0)
    law = planted(3, 0)
    weights = np.repeat(trial_weights(3, 12, EQUAL_SHARE, 0), 4, axis=0)
    fitted = fit_law(weights, law.losses(weights) + rng.normal(0, 0.02, (48, 3)))
    others = with_equal_share(rng.dirichlet(np.ones(3), 200), EQUAL_SHARE)
    errors = fitted.losses(others) - law.losses(others)
    assert np.sqrt(np.square(errors).mean()) < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_squared_errors_are_those_of_nonlinear_least_squares(seed: int) -> None:
    """scipy starts at the planted law; linear least squares in the logarithm are 1-40 % worse."""
    law = planted(3, seed)
    weights = trial_weights(3, 12, EQUAL_SHARE, 0)
    losses = law.losses(weights)[:, :1] + np.random.default_rng(seed).normal(0, 0.01, (12, 1))

    def errors(unknowns: Float[np.ndarray, "4"]) -> Float[np.ndarray, "12"]:
        return MixingLaw(unknowns[:1], unknowns[None, 1:]).losses(weights)[:, 0] - losses[:, 0]

    start = np.array([law.constants[0], *law.exponents[0]])
    best = least_squares(errors, start, bounds=([0.0, -np.inf, -np.inf, -np.inf], np.inf))
    fitted = fit_law(weights, losses)
    assert np.square(fitted.losses(weights) - losses).sum() <= 2 * best.cost * 1.002


def test_a_loss_that_does_not_depend_on_the_weights_is_fitted() -> None:
    weights = trial_weights(3, 8, EQUAL_SHARE, 0)
    assert fit_law(weights, np.full((8, 1), 2.0)).losses(weights) == pytest.approx(2.0)


@pytest.mark.parametrize("n_sources", [2, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_no_weights_in_the_tried_range_have_a_lower_loss_than_the_optimum(
    n_sources: int, seed: int
) -> None:
    law = planted(n_sources, seed)
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.ones(n_sources))
    optimum = law.optimum(targets, EQUAL_SHARE)
    assert optimum.sum() == pytest.approx(1)
    assert optimum.min() >= EQUAL_SHARE / n_sources
    shares = [rng.dirichlet(np.full(n_sources, a), 5000) for a in (0.3, 1.0, 9.0)]
    others = with_equal_share(np.concatenate(shares), EQUAL_SHARE)
    others = np.concatenate([others, 0.99 * optimum + 0.01 * others])
    assert targets @ law.losses(optimum) <= (law.losses(others) @ targets).min() + 1e-7


def test_an_optimum_in_a_corner_is_found() -> None:
    law = MixingLaw(np.ones(1), np.array([[-2.0, 0.0, 1.0]]))
    assert law.optimum(np.ones(1), 0.0) == pytest.approx([1, 0, 0], abs=1e-6)
    assert law.optimum(np.ones(1), 0.3) == pytest.approx([0.8, 0.1, 0.1], abs=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        trial_weights(3, 3, EQUAL_SHARE, 0),
        np.repeat(trial_weights(3, 3, EQUAL_SHARE, 0), 5, axis=0),
        np.array([[t, 0.5 - t, 0.5] for t in np.linspace(0, 0.5, 9)]),
    ],
    ids=["few", "repeated", "on a line"],
)
def test_trials_that_do_not_determine_the_law_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not determine the 4 unknowns"):
        fit_law(weights, np.ones((len(weights), 3)))


def test_losses_without_a_logarithm_are_refused() -> None:
    weights = trial_weights(2, 4, EQUAL_SHARE, 0)
    for bad in (np.nan, np.inf, 0.0):
        with pytest.raises(ValueError, match="finite and positive"):
            fit_law(weights, np.array([[1.0], [2.0], [3.0], [bad]]))


@pytest.mark.parametrize("n_sources", [2, 3, 10])
def test_trials_fill_the_simplex_and_more_trials_continue_the_list(n_sources: int) -> None:
    weights = trial_weights(n_sources, 24, EQUAL_SHARE, 0)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert weights.min() == pytest.approx(EQUAL_SHARE / n_sources)
    assert len(np.unique(weights, axis=0)) == 24 or n_sources == 2  # 21 points of the lattice
    assert weights[n_sources] == pytest.approx(1 / n_sources)
    assert np.array_equal(trial_weights(n_sources, 15, EQUAL_SHARE, 0), weights[:15])
