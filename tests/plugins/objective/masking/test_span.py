import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.plugins.objective.masking.span import Span, SpanConfig, length_shares

BOS, EOS = tiny.BYTES.vocab.bos, tiny.BYTES.vocab.eos
LETTERS = tiny.BYTES.encode(" a" * 3000)  # words of two tokens


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), max_size=30),
    cut=st.integers(0, 60),
    budget=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
def test_spans_are_runs_of_whole_words_within_the_budget_and_one_document(
    sizes: list[int], cut: int, budget: int, seed: int
) -> None:
    text = tiny.BYTES.encode("".join(" " + "x" * size for size in sizes))
    ids = np.concatenate(([BOS], text[:cut], [EOS, BOS], text[cut:]))
    groups = Span(SpanConfig(), tiny.BYTES)(ids, budget, np.random.default_rng(seed))
    words = tiny.BYTES.words(ids)
    assert (groups > 0).sum() <= budget
    for span in set(groups[groups > 0].tolist()):
        places = np.flatnonzero(groups == span)
        assert np.array_equal(places, np.arange(places[0], places[-1] + 1))  # no gap
        inside = set(words[places].tolist())
        assert 0 not in inside
        assert len(inside) <= 10
        assert np.isin(words, list(inside)).sum() == len(places)  # whole words
    left = budget - (groups > 0).sum()
    assert all(
        (words == w).sum() > left for w in range(1, words.max() + 1) if not groups[words == w].any()
    )


def test_lengths_are_geometric_with_a_mean_of_3_8_words() -> None:
    shares = length_shares(0.2, 10)
    assert shares.sum() == pytest.approx(1)
    assert shares[1:] / shares[:-1] == pytest.approx([0.8] * 9)
    assert shares @ np.arange(1, 11) == pytest.approx(3.797, abs=1e-3)


@pytest.mark.slow
def test_sampled_lengths_have_that_mean() -> None:
    lengths: list[int] = []
    for seed in range(200):  # few spans per text, so that they do not touch
        groups = Span(SpanConfig(), tiny.BYTES)(LETTERS, 60, np.random.default_rng(seed))
        lengths += np.bincount(groups)[1:][np.bincount(groups)[1:] > 0].tolist()
    words = np.array(lengths) / 2
    # The last span of a text ends with the budget: 30 words hold about 8.3 of a mean of 3.6.
    assert words.mean() == pytest.approx(3.8, abs=0.3)
    assert words.max() == 10


def test_15_percent_of_a_text_are_selected() -> None:
    budget = round(0.15 * len(LETTERS))
    groups = Span(SpanConfig(), tiny.BYTES)(LETTERS, budget, np.random.default_rng(0))
    assert (groups > 0).sum() == budget


def test_max_words_of_1_masks_single_words() -> None:
    groups = Span(SpanConfig(max_words=1), tiny.BYTES)(LETTERS, 100, np.random.default_rng(0))
    assert set(np.bincount(groups)[1:].tolist()) <= {0, 2}


@pytest.mark.parametrize("values", [{"p": 0.0}, {"p": 1.0}, {"max_words": 0}])
def test_values_outside_their_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SpanConfig(**values)  # pyright: ignore[reportArgumentType]
