"""A job stops if its best value is worse than the median of the other jobs' means."""

from statistics import mean, median
from typing import Any

from defaults import default
from hypothesis import given
from hypothesis import strategies as st

from etude.config.registry import build
from etude.config.schema.trainer import Best

numbers = st.lists(st.floats(-9, 9), min_size=3, max_size=3)


def stopper(**settings: Any) -> Any:
    return build(default("callback/median", **({"min_steps": 2, "min_jobs": 3} | settings)))


def curve(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values, start=1))


@given(own=numbers, others=st.lists(numbers, min_size=3, max_size=5))
def test_it_is_the_papers_rule_for_lowest_and_highest(
    own: list[float], others: list[list[float]]
) -> None:
    half = median(mean(one) for one in others)
    curves = [curve(one) for one in others]
    assert stopper().should_prune(curve(own), curves) == (min(own) > half)
    highest = stopper(best=Best.highest)
    assert highest.should_prune(curve(own), curves) == (max(own) < half)


def test_no_job_is_stopped_before_min_steps_or_by_too_few_jobs_at_its_step() -> None:
    far, near = curve([0.0, 0.0, 0.0]), curve([0.0])
    worse = curve([1.0, 1.0])
    assert stopper().should_prune(worse, [far, far, far])
    assert not stopper().should_prune(worse, [far, far])
    assert not stopper().should_prune(worse, [far, far, near])
    assert not stopper(min_steps=3).should_prune(worse, [far, far, far])


def test_a_job_with_only_nan_values_is_stopped() -> None:
    far = curve([0.0, 0.0])
    assert stopper().should_prune(curve([float("nan")] * 2), [far, far, far])
