"""Noise for denoising: exact amounts, and only masked words are lost."""

import math
from itertools import chain
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.plugins.objective.corruption._noise import (
    InfillConfig,
    infill,
    permute,
    rotate,
    span_lengths,
)

VOCAB = tiny.BYTES.vocab
MASK = VOCAB.mask


def text(n_words: int, seed: int = 0) -> np.ndarray:
    """Words of one to six letters."""
    draw = np.random.default_rng(seed)
    words = ("".join(map(chr, draw.integers(97, 123, draw.integers(1, 7)))) for _ in range(n_words))
    return tiny.BYTES.encode(" ".join(words))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def fits(source: list[int], words: list[list[int]]) -> bool:
    """Whether the source becomes the words if each mask is replaced by some of them."""
    reach, rest = {0}, source  # how many words may stand in front of the rest
    while rest:
        if rest[0] == MASK:
            reach, rest = set(range(min(reach), len(words) + 1)), rest[1:]
            continue
        part = rest[: rest.index(MASK)] if MASK in rest else rest
        starts, reach, rest = reach, set[int](), rest[len(part) :]
        for start in starts:
            ends = range(start, len(words) + 1)
            reach |= {end for end in ends if [*chain(*words[start:end])] == part}
        if not reach:
            return False
    return len(words) in reach


@settings(max_examples=200, deadline=None)
@given(
    n_words=st.integers(0, 3) | st.integers(0, 60),
    ratio=st.floats(0.01, 0.99),
    mean=st.floats(1.0, 9.0),
    seed=st.integers(0, 2**32),
)
def test_infilling_masks_exactly_its_budget_of_words_and_keeps_the_others_in_place(
    n_words: int, ratio: float, mean: float, seed: int
) -> None:
    tokens = text(n_words, seed)
    before = tokens.copy()
    source = infill(tokens, tiny.BYTES, InfillConfig(ratio, mean, 0.0), rng(seed))
    assert np.array_equal(tokens, before)
    numbers = tiny.BYTES.words(tokens)
    words = [tokens[numbers == i].tolist() for i in range(1, n_words + 1)]
    assert fits(source.tolist(), words)
    n_masked = math.ceil(ratio * n_words)
    n_masks = int((source == MASK).sum())
    assert n_masks <= n_masked
    assert (n_masks > 0) == (n_words > 0)
    assert len(source) <= len(tokens)
    n_spaces = int((source == tiny.BYTES.encode(" ")[0]).sum())  # before all words but the first
    assert n_spaces in {n_words - n_masked, n_words - n_masked - 1}
    again = infill(tokens, tiny.BYTES, InfillConfig(ratio, mean, 0.0), rng(seed))
    assert np.array_equal(again, source)


@settings(max_examples=200, deadline=None)
@given(budget=st.integers(1, 200), mean=st.floats(1.0, 9.0), seed=st.integers(0, 2**32))
def test_lengths_add_up_to_the_budget(budget: int, mean: float, seed: int) -> None:
    lengths = span_lengths(budget, mean, rng(seed))
    assert lengths.sum() == budget
    assert lengths.min() >= 0
    assert len(lengths) <= budget


def test_lengths_are_poisson() -> None:
    lengths = span_lengths(60_000, 3.0, rng(0))
    assert lengths.mean() == pytest.approx(3.0, abs=0.05)
    n = len(lengths)
    wanted = np.array([math.exp(-3) * 3.0**k / math.factorial(k) * n for k in range(9)])
    found = np.bincount(lengths, minlength=9)[:9]
    assert ((found - wanted) ** 2 / wanted).sum() < 27.9  # 9 degrees, p = 0.001


def test_a_tenth_of_the_masks_are_random_tokens_of_text() -> None:
    tokens = np.tile(tiny.BYTES.encode(" a"), 20_000)
    space, letter = tiny.BYTES.encode(" a")
    source = infill(tokens, tiny.BYTES, InfillConfig(), rng(0))
    plain = infill(tokens, tiny.BYTES, InfillConfig(random_share=0.0), rng(0))
    n_spans = int((plain == MASK).sum())
    assert n_spans == pytest.approx(0.3 * 20_000 / 3, rel=0.05)
    random = plain[source != plain]
    assert (random == MASK).all()
    drawn = source[source != plain]
    assert len(drawn) == pytest.approx(0.1 * n_spans, abs=4 * math.sqrt(0.09 * n_spans))
    assert not np.isin(drawn, list(VOCAB.special)).any()
    assert ((plain == space).sum(), (plain == letter).sum()) == (14_000, 14_000)


def test_every_position_of_a_span_is_equally_likely() -> None:
    tokens = np.tile(tiny.BYTES.encode(" a"), 10)
    counts = np.zeros(10)
    for seed in range(3000):
        source = infill(tokens, tiny.BYTES, InfillConfig(0.1, random_share=0.0), rng(seed))
        counts[int(np.flatnonzero(source == MASK)[0]) // 2] += 1
    assert ((counts - 300) ** 2 / 300).sum() < 27.9  # 9 degrees, p = 0.001


@settings(max_examples=100, deadline=None)
@given(
    sentences=st.lists(
        st.sampled_from([" One.", " Two?", "三。", " four 4.5 lines\n", " five"]), max_size=9
    ),
    seed=st.integers(0, 2**32),
)
def test_permuting_keeps_every_sentence_whole(sentences: list[str], seed: int) -> None:
    tokens = tiny.BYTES.encode("".join(sentences))
    moved = permute(tokens, tiny.BYTES, rng(seed))
    ends = tiny.BYTES.sentence_ends(tokens)
    parts = [part.tolist() for part in np.split(tokens, ends[:-1])] if len(tokens) else []
    left = moved.tolist()
    while left:  # no two sentences begin alike
        part = next(p for p in sorted(parts, key=len, reverse=True) if left[: len(p)] == p)
        parts.remove(part)
        left = left[len(part) :]
    assert parts == []


def test_every_order_of_sentences_is_equally_likely() -> None:
    tokens = tiny.BYTES.encode("a.\nb.\nc.\n")
    found = [tiny.BYTES.decode(permute(tokens, tiny.BYTES, rng(i)))[::3] for i in range(3000)]
    counts = np.array([found.count(order) for order in {*found}])
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # 5 degrees, p = 0.001


@given(n=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_rotation_keeps_the_cyclic_order(n: int, seed: int) -> None:
    tokens = np.arange(200, 200 + n)
    turned = rotate(tokens, rng(seed))
    start = int(turned[0]) - 200 if n else 0
    assert np.array_equal(np.roll(turned, start), tokens)


def test_every_token_is_equally_likely_to_be_first_after_rotation() -> None:
    counts = np.bincount([rotate(np.arange(5), rng(i))[0] for i in range(3000)])
    assert ((counts - 600) ** 2 / 600).sum() < 18.5  # 4 degrees, p = 0.001


@pytest.mark.parametrize(
    "values", [{"mask_ratio": 0.0}, {"mask_ratio": 1.0}, {"mean_span": 0.9}, {"random_share": 1.1}]
)
def test_values_outside_their_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        InfillConfig(**values)
