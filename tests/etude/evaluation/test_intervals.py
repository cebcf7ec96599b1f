"""Intervals of one result, against scipy."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from etude.evaluation.intervals import interval, resampled_sums, wilson
from etude.evaluation.item import Metric

SHARE = Metric("accuracy", "right")
MEAN = Metric("bits", "nats", "bytes", 1 / math.log(2))


def values(right: Sequence[float]) -> list[dict[str, float]]:
    return [{"right": x} for x in right]


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (20, 20), (77, 100)])
def test_the_interval_of_a_share_is_the_wilson_interval_of_scipy(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high))
    found = interval(SHARE, values([1] * k + [0] * (n - k)))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert found.method == "Wilson"


def test_the_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    nats = np.random.default_rng(0).normal(5, 2, 400)
    found = interval(MEAN, [{"nats": float(x), "bytes": 1.0} for x in nats])
    half = 1.96 * nats.std() / math.sqrt(len(nats))
    expected = [(nats.mean() + sign * half) / math.log(2) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(expected, abs=0.03)
    assert found.method == "bootstrap"


def test_two_results_are_resampled_with_the_same_items() -> None:
    one = np.random.default_rng(0).normal(size=(30, 2))
    first, second = resampled_sums([one, one * 3])
    assert second == pytest.approx(first * 3)


def test_nothing_has_no_interval() -> None:
    assert math.isnan(interval(SHARE, []).low)
