"""Exact match and F1, against torchmetrics' copy of SQuAD's script."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.text.squad import squad

from etude.plugins.objective._extract.squad import exact_match, f1, words

WORDS = st.sampled_from(["the", "An", "cat", "cat's", "Dog", "dog-", "é", "3.5", "(a)", "—", ""])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join) | st.text("aé .-_\t’thec", max_size=9)
WITH_WORDS = TEXTS.map(lambda text: f"{text} cat")


@settings(max_examples=200, deadline=None)
@given(answer=TEXTS, references=st.lists(WITH_WORDS, min_size=1, max_size=3))
def test_scores_are_those_of_squads_script(answer: str, references: list[str]) -> None:
    predictions = [{"prediction_text": answer, "id": "1"}]
    right = {"text": references, "answer_start": [0] * len(references)}
    theirs = squad(predictions, [{"answers": right, "id": "1"}])  # type: ignore[arg-type]
    assert exact_match(answer, references) == theirs["exact_match"] / 100
    assert f1(answer, references) == pytest.approx(float(theirs["f1"]) / 100, abs=1e-6)


@pytest.mark.parametrize("answer", ["", "the", "..."])
def test_no_answer_is_right_if_there_is_none_and_wrong_otherwise(answer: str) -> None:
    assert exact_match(answer, []) == f1(answer, []) == 1
    assert exact_match(answer, ["cat"]) == f1(answer, ["cat"]) == 0


def test_an_answer_is_wrong_if_there_is_none() -> None:
    assert exact_match("cat", []) == f1("cat", []) == 0


def test_each_chinese_character_is_a_word_and_chinese_punctuation_is_none() -> None:
    assert words("《红楼梦》（1791 年）") == ["红", "楼", "梦", "1791", "年"]
    assert exact_match("红楼梦。", ["《红楼梦》"]) == 1
    assert f1("红楼", ["红楼梦"]) == pytest.approx(0.8)
