"""Comparisons against closed forms, scipy and simulation."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from etude.evaluation.comparison import compare, difference, holm
from etude.evaluation.item import OUTCOMES, Item, Metric, Outcome, outcome_values
from etude.evaluation.result import Part, Result

ACCURACY = OUTCOMES[0]
BITS = Metric("bits", "nats", "bytes", 1 / math.log(2), higher_is_better=False)
PERPLEXITY = Metric("perplexity", "nats", "tokens", exponential=True, needs_same_tokenizer=True)
RIGHT, WRONG, UNANSWERED = Outcome.RIGHT, Outcome.WRONG, Outcome.UNANSWERED


def item(i: int, outcome: Outcome) -> Item:
    return Item(f"{i:04}", outcome_values(outcome), outcome)


def pairs_of(cells: Sequence[tuple[Outcome, Outcome, int]]) -> list[tuple[Item, Item]]:
    outcomes = [(a, b) for a, b, n in cells for _ in range(n)]
    return [(item(i, a), item(i, b)) for i, (a, b) in enumerate(outcomes)]


def nats(before: np.ndarray, after: np.ndarray) -> list[tuple[Item, Item]]:
    sides = [
        [Item(f"{i:04}", {"nats": x, "bytes": 1.0, "tokens": 1.0}) for i, x in enumerate(side)]
        for side in (before.tolist(), after.tolist())
    ]
    return list(zip(*sides, strict=True))


def result(tokenizer: str, items: Sequence[Item], metrics: Sequence[Metric]) -> Result:
    return Result({"tokenizer": tokenizer, "n": len(items)}, {"loss": Part(metrics, items)})


@pytest.mark.parametrize(("gained", "lost"), [(8, 1), (3, 3), (0, 5), (12, 30)])
def test_the_p_value_of_shares_is_that_of_the_exact_binomial_test(gained: int, lost: int) -> None:
    cells = [(WRONG, RIGHT, gained), (RIGHT, WRONG, lost), (RIGHT, RIGHT, 50)]
    found = difference(ACCURACY, pairs_of(cells))
    assert found.p == pytest.approx(binomtest(gained, gained + lost).pvalue, abs=1e-6)
    assert found.value == pytest.approx((gained - lost) / (gained + lost + 50), abs=1e-6)


def test_items_on_which_both_agree_do_not_change_the_p_value() -> None:
    few = [(WRONG, RIGHT, 9), (RIGHT, WRONG, 2)]
    many = [*few, (RIGHT, RIGHT, 300), (WRONG, UNANSWERED, 40)]
    assert difference(ACCURACY, pairs_of(few)).p == difference(ACCURACY, pairs_of(many)).p


def test_equal_results_have_a_p_value_of_1_and_an_interval_around_0() -> None:
    found = difference(ACCURACY, pairs_of([(RIGHT, RIGHT, 20), (WRONG, WRONG, 20)]))
    assert (found.p, found.value) == (1, 0)
    assert found.low < 0 < found.high
    assert found.detectable > 0


def test_the_interval_of_shares_covers_the_truth_in_95_percent_of_samples() -> None:
    generator = np.random.default_rng(0)
    truth, n_covered = 0.1, 0
    cells = [(WRONG, RIGHT), (RIGHT, WRONG), (RIGHT, RIGHT)]
    for _ in range(300):
        counts = generator.multinomial(60, [0.2, 0.1, 0.7])
        pairs = pairs_of([(*cell, int(n)) for cell, n in zip(cells, counts, strict=True)])
        found = difference(ACCURACY, pairs)
        n_covered += found.low <= truth <= found.high
    assert 0.92 <= n_covered / 300 <= 0.99


def test_the_detectable_difference_is_that_of_a_test_with_a_power_of_80_percent() -> None:
    n, deviation = 200, 1.0
    noise = np.random.default_rng(1).normal(0, deviation, n)
    detectable = difference(BITS, nats(np.zeros(n), noise)).detectable
    expected = (norm.ppf(0.975) + norm.ppf(0.8)) * deviation / math.sqrt(n) / math.log(2)
    assert detectable == pytest.approx(expected, rel=0.15)


def test_a_shift_of_every_item_is_found_although_the_items_vary_more() -> None:
    texts = np.random.default_rng(0).normal(100, 50, 40)
    found = difference(BITS, nats(texts, texts - 0.5))
    assert found.high < 0
    assert found.p < 0.01
    assert found.high - found.low < 1e-6  # the same shift everywhere


def test_holm_is_the_published_procedure() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_loss_per_token_is_not_compared_between_tokenizers() -> None:
    one, two = zip(*nats(np.arange(9.0), np.arange(9.0) + 1), strict=True)
    metrics = [BITS, PERPLEXITY]
    (same,) = compare("t", result("a", one, metrics), result("a", two, metrics))
    (other,) = compare("t", result("a", one, metrics), result("b", two, metrics))
    assert [each.metric.name for each in same.differences] == ["bits", "perplexity"]
    assert [each.metric.name for each in other.differences] == ["bits"]
    assert "bits_per_byte" in other.left_out[0]
    assert "tokenizer: a / b" in other.settings


def test_items_are_paired_by_id_and_the_others_are_counted() -> None:
    one = [item(i, RIGHT) for i in range(10)]
    two = [item(i, WRONG) for i in reversed(range(4, 12))]
    (found,) = compare("t", result("a", one, OUTCOMES), result("a", two, OUTCOMES))
    assert (found.n_items, found.n_unpaired) == (6, 6)
    assert found.differences[0].value == -1
    assert found.outcomes == {(RIGHT, WRONG): 6}
