"""A case is named by its content, and metrics are ratios of sums."""

import math

import pytest

from etude.evaluation.item import Metric, Outcome, cases_of, outcome_values, rounded
from etude.records import Prompt, Text


def test_the_order_of_records_changes_neither_ids_nor_their_order() -> None:
    records = [Text("a"), Prompt("a"), Text("b"), Text("a"), Prompt("a", "b")]
    cases, reverse = cases_of(records), cases_of(records[::-1])
    assert [case.id for case in cases] == [case.id for case in reverse]
    assert len({case.id for case in cases}) == len(records)
    assert [(c.id, c.record) for c in cases] == [(c.id, c.record) for c in reverse]


def test_randomness_depends_on_the_seed_the_record_and_the_key() -> None:
    (case,), (other,) = cases_of([Text("a")]), cases_of([Text("b")])
    draws = [one.random() for one in (case.rng(0), case.rng(1), case.rng(0, 1), other.rng(0))]
    assert len(set(draws)) == 4
    assert cases_of([Text("b"), Text("a")])[0].rng(0).random() in draws


def test_a_metric_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    items = [{"nats": 2.0, "tokens": 1.0}, {"nats": 2.0, "tokens": 3.0}]
    assert Metric("mean", "nats").of(items) == 2.0
    assert Metric("loss", "nats", "tokens").of(items) == 1.0
    assert Metric("bits", "nats", "tokens", 1 / math.log(2)).of(items) == 1 / math.log(2)
    assert Metric("perplexity", "nats", "tokens", exponential=True).of(items) == math.e
    assert Metric("loss", "nats", "tokens").needs == ("nats", "tokens")
    assert math.isnan(Metric("mean", "nats").of([]))


@pytest.mark.parametrize("outcome", Outcome)
def test_right_wrong_and_unanswered_add_up_to_one(outcome: Outcome) -> None:
    assert sum(outcome_values(outcome).values()) == outcome_values(outcome)[outcome] == 1.0


def test_minus_zero_is_written_as_zero() -> None:
    assert math.copysign(1, rounded(-1e-9)) == 1
