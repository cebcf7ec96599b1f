import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.plugins.objective.masking.whole_word import (
    Unit,
    WholeWord,
    WholeWordConfig,
    select_words,
)

BOS = tiny.BYTES.vocab.bos
TEXT = "a quick brown fox jumps over 语言 dogs"


def selected(budget: int, seed: int, unit: Unit = Unit.word) -> tuple[np.ndarray, np.ndarray]:
    ids = np.concatenate(([BOS], tiny.BYTES.encode(TEXT)))
    select = WholeWord(WholeWordConfig(unit), tiny.BYTES)
    return ids, select(ids, budget, np.random.default_rng(seed))


@settings(max_examples=100, deadline=None)
@given(budget=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_words_are_selected_whole_until_none_fits_into_the_budget(budget: int, seed: int) -> None:
    ids, groups = selected(budget, seed)
    words = tiny.BYTES.words(ids)
    whole = [groups[words == word] for word in range(1, words.max() + 1)]
    assert all(len(set(group.tolist())) == 1 for group in whole)
    left = budget - (groups > 0).sum()
    assert left >= 0
    assert all(len(group) > left for group in whole if group[0] == 0)
    assert groups[0] == 0
    numbers = [int(group[0]) for group in whole if group[0]]
    assert len(set(numbers)) == len(numbers)


def test_groups_are_tokens_or_words_as_configured() -> None:
    _, by_word = selected(20, 0)
    _, by_token = selected(20, 0, Unit.token)
    assert np.array_equal(by_word > 0, by_token > 0)
    assert sorted(by_token[by_token > 0].tolist()) == list(range(1, (by_token > 0).sum() + 1))


def test_a_word_that_exceeds_the_budget_is_skipped() -> None:
    for seed in range(20):
        chosen = select_words(np.array([9, 2, 9, 1]), 3, np.random.default_rng(seed))
        assert (chosen > 0).tolist() == [False, False, True, False, True]
    assert not select_words(np.array([4, 5]), 3, np.random.default_rng(0)).any()
    assert select_words(np.array([], int), 3, np.random.default_rng(0)).tolist() == [0]


def test_a_chinese_character_is_a_word_of_three_bytes() -> None:
    ids = tiny.BYTES.encode("语言模型")
    groups = WholeWord(WholeWordConfig(Unit.word), tiny.BYTES)(ids, 6, np.random.default_rng(0))
    assert sorted((groups.reshape(-1, 3) > 0).sum(1).tolist()) == [0, 0, 3, 3]


@pytest.mark.parametrize("ratio", [0.15, 0.3])
def test_the_share_selected_is_the_budget_up_to_a_word(ratio: float) -> None:
    draw = np.random.default_rng(0)
    text = " ".join("x" * n for n in draw.integers(1, 9, 400))
    ids = tiny.BYTES.encode(text)
    budget = round(ratio * len(ids))
    select = WholeWord(WholeWordConfig(), tiny.BYTES)
    shares = [(select(ids, budget, np.random.default_rng(i)) > 0).sum() for i in range(20)]
    assert set(shares) <= {budget - 1, budget}  # the shortest word has two bytes
