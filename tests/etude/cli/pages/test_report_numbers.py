"""The numbers of a report against closed forms."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.cli.pages.report.comparison import compare
from etude.cli.pages.report.groups import groups_of
from etude.cli.pages.report.runs import Run, RunState
from etude.cli.pages.report.scaling import fit
from etude.cli.pages.report.scaling import section as scaling
from etude.cli.pages.report.statistics import (
    Interval,
    interval,
    moving_average,
    t_below,
    t_quantile,
)
from etude.cli.pages.report.sweep import importance, varied_keys
from etude.cli.pages.report.view import View
from etude.config.schema.trainer import Best
from etude.files.run_folder import CARD, SUMMARY


def run(
    losses: Sequence[tuple[float, float]], n: float | None = None, seed: int = 0, **config: Any
) -> Run:
    """A run with these losses at these numbers of tokens."""
    steps = [{"step": i, "tokens": t, "val/loss": loss} for i, (t, loss) in enumerate(losses, 1)]
    facts = {SUMMARY: {"parameters": n}, CARD: {}, "hardware.json": {}, "parents.json": {}}
    return Run("run", Path("run"), RunState.finished, steps, [], config, seed, [], facts, [])


def test_the_average_of_a_constant_is_that_constant_from_the_first_step() -> None:
    assert moving_average([3.0] * 5, 0.9) == pytest.approx([3.0] * 5)


def test_the_average_weighs_values_by_powers_of_the_weight_and_skips_gaps() -> None:
    values, weight = [5.0, 1.0, -2.0, 4.0], 0.7
    powers = [weight**k for k in (3, 2, 1, 0)]
    due = sum(v * w for v, w in zip(values, powers, strict=True)) / sum(powers)
    found = moving_average([values[0], values[1], None, values[2], values[3]], weight)
    assert found[-1] == pytest.approx(due)
    assert found[2] is None
    assert moving_average(values, 0.0) == values


@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.999])
def test_t_quantiles_for_1_and_2_degrees_of_freedom_equal_the_closed_forms(p: float) -> None:
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)))
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p))))
    assert t_quantile(1 - p, 7) == pytest.approx(-t_quantile(p, 7))


@pytest.mark.parametrize(
    ("freedom", "table"),
    [(3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_t_quantiles_equal_the_tables(freedom: int, table: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(table, abs=6e-4)


@pytest.mark.parametrize("freedom", [3, 4, 8])
def test_the_cumulative_probability_is_the_integral_of_the_density(freedom: int) -> None:
    x = np.linspace(0, 1.7, 20_001)
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    density = (
        math.exp(log) / math.sqrt(freedom * math.pi) * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    )
    assert t_below(1.7, freedom) == pytest.approx(0.5 + float(np.trapezoid(density, x)), abs=1e-8)


def test_the_coverage_of_the_interval_equals_its_confidence() -> None:
    draws = np.random.default_rng(0).normal(5, 2, (1000, 4))
    held = [abs((found := interval(row)).mean - 5) <= (found.half or 0) for row in draws.tolist()]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_a_single_value_has_no_interval_and_is_never_clear() -> None:
    assert interval([2.0]) == Interval(2.0, None, 1)
    assert not interval([2.0]).is_clear
    assert interval([1.0, 1.1, 0.9]).is_clear
    assert not interval([1.0, -1.1, 0.9]).is_clear


def test_an_interval_is_shown_with_two_digits() -> None:
    assert Interval(1.16271, 0.048649, 3).text() == "1.163 ± 0.049"
    assert Interval(1234.5, 320.0, 3).text() == "1234 ± 320"
    assert Interval(0.5, None, 1).text() == "0.5"


def pairs(ahead: Sequence[float], longer: float = 0.0) -> list[Run]:
    """Two groups over seeds; a seed's effect is common to both, `ahead` is a's advantage."""
    found: list[Run] = []
    for seed, by in enumerate(ahead):
        level = 3 + 10 * seed
        found.append(run([(100, level + 1), (200, level)], seed=seed, lr="a"))
        more = [(200 + longer, level + by - 0.5)] if longer else []
        found.append(run([(100, level + 1 + by), (200, level + by), *more], seed=seed, lr="b"))
    return found


def test_pairing_removes_the_effect_of_the_seed_from_the_interval() -> None:
    runs = pairs([0.3, 0.5, 0.4])
    first, second = groups_of(runs)
    found = compare(runs, first, second, "val/loss", Best.lowest)
    assert found is not None
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.ahead.mean == pytest.approx(0.4)
    assert found.ahead.half == pytest.approx(half, rel=1e-6)
    assert found.sentence() == "lr=a beats lr=b by 0.40 ± 0.25 at equal tokens (200; 3 seeds)"
    back = compare(runs, second, first, "val/loss", Best.lowest)
    assert back is not None
    assert back.sentence() == found.sentence()
    other = compare(runs, first, second, "val/loss", Best.highest)
    assert other is not None
    assert other.sentence().startswith("lr=b beats lr=a")


def test_runs_are_compared_at_the_end_of_the_shortest() -> None:
    runs = pairs([0.3, 0.5, 0.4], longer=100)
    first, second = groups_of(runs)
    found = compare(runs, first, second, "val/loss", Best.lowest)
    assert found is not None
    assert found.tokens == 200
    assert found.ahead.mean == pytest.approx(0.4)


def test_a_difference_of_varying_sign_is_not_clear_and_one_seed_is_not_compared() -> None:
    runs = pairs([0.3, -0.5, 0.4])
    first, second = groups_of(runs)
    found = compare(runs, first, second, "val/loss", Best.lowest)
    assert found is not None
    assert found.sentence().startswith("No clear difference between lr=a and lr=b")
    first, second = groups_of(runs[:2])
    assert compare(runs[:2], first, second, "val/loss", Best.lowest) is None


def test_importance_is_the_fraction_of_the_variance_that_a_key_explains() -> None:
    rng = np.random.default_rng(0)
    a, b, idle = (rng.integers(0, 3, 4000) for _ in range(3))
    metric = 2.0 * a + 1.0 * b  # variances 4 : 1
    configs = [
        {"a": f"a{x}", "b": int(y), "idle": f"i{z}"} for x, y, z in zip(a, b, idle, strict=True)
    ]
    scores = {key.name: importance(key, metric.tolist()) for key in varied_keys(configs)}
    assert scores == pytest.approx({"a": 0.8, "b": 0.2, "idle": 0.0}, abs=0.02)


def test_a_key_is_not_important_just_because_it_has_many_levels() -> None:
    rng = np.random.default_rng(0)
    configs = [{"idle": f"i{k % 20}"} for k in range(60)]
    (key,) = varied_keys(configs)
    scores = [importance(key, rng.normal(size=60).tolist()) or 0.0 for _ in range(50)]
    assert np.mean(scores) < 0.1, "without the adjustment it would be 19 / 59"


def test_importance_of_a_continuous_key_detects_an_optimum_in_the_middle() -> None:
    rates = np.geomspace(1e-5, 1e-1, 41)
    metric = (np.log10(rates) + 3) ** 2
    (key,) = varied_keys([{"lr": float(rate)} for rate in rates])
    assert key.is_log
    assert importance(key, metric.tolist()) == pytest.approx(1.0)
    assert importance(key, [1.0] * 41) is None, "nothing varies"


def test_keys_that_vary_together_are_merged_and_missing_keys_are_skipped() -> None:
    configs = [{"a": 1, "b": x, "c": -x, "d": x % 2} | ({"e": 1} if x else {}) for x in range(4)]
    found = varied_keys(configs)
    assert [(key.name, key.with_it) for key in found] == [("b", ("c",)), ("d", ())]


def test_the_fit_recovers_a_law_from_its_points() -> None:
    n = np.geomspace(1e4, 1e8, 6)
    law = fit(1.7 + 40 * n**-0.34, n)
    assert law.floor == pytest.approx(1.7, rel=1e-3)
    assert law.factors == pytest.approx((40,), rel=1e-2)
    assert law.exponents == pytest.approx((0.34,), rel=1e-3)
    assert law.error < 1e-5
    assert law.at(1e9) == pytest.approx(1.7 + 40 * 1e9**-0.34, rel=1e-4)


def test_the_fit_recovers_a_law_in_two_sizes_from_its_points() -> None:
    n, d = map(np.ravel, np.meshgrid(np.geomspace(1e5, 1e8, 4), np.geomspace(1e7, 1e9, 3)))
    law = fit(1.69 + 406 * n**-0.34 + 410 * d**-0.28, n, d)
    assert law.floor == pytest.approx(1.69, rel=2e-2)
    assert law.exponents == pytest.approx((0.34, 0.28), rel=2e-2)


def test_losses_that_do_not_decrease_have_a_zero_power_term() -> None:
    n = np.geomspace(1e4, 1e6, 5)
    law = fit(np.linspace(2, 3, 5), n)
    assert law.factors == (0.0,)
    assert law.floor == pytest.approx(2.5)


def test_a_law_needs_at_least_four_sizes() -> None:
    def scaling_text(n_sizes: int) -> str:
        runs = [run([(100, 2 + 10 / n)], n=n, dim=n) for n in range(100, 100 * n_sizes + 1, 100)]
        section = scaling(View(runs, "val/loss", Best.lowest))
        assert section is not None
        return section.body

    assert "Too few sizes for val/loss = a + b N^-c: 3 of 4" in scaling_text(3)
    assert "<b>L = 2 + 10 N^-1</b>" in scaling_text(4)
    assert "too few sizes to test it" in scaling_text(4)
    assert "has an error of +0.00%" in scaling_text(5).replace("-0.00%", "+0.00%")
