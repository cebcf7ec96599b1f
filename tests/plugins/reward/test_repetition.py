import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from etude.config.registry import build


def score(text: str, n: int) -> float:
    return build(tiny.part("reward", "repetition", n=n))(["?"], [text], [None])[0]


def test_the_penalty_is_the_fraction_of_repeated_ngrams() -> None:
    assert score("a b c a b c", 3) == pytest.approx(-1 / 4)
    assert score("a a a a a", 1) == pytest.approx(-4 / 5)
    assert score("猫在猫在", 2) == pytest.approx(-1 / 3)
    assert score("a b", 3) == 0.0
    with pytest.raises(ValueError, match="n must be at least 1"):
        tiny.part("reward", "repetition", n=0)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 4))
def test_repeating_a_text_never_scores_higher_whatever_the_case_and_spacing(
    words: list[int], n: int
) -> None:
    text = " ".join(f"w{i}" for i in words)
    assert score(f"{text} {text}", n) <= score(text, n)
    assert score(text.upper().replace(" ", "\n\n"), n) == score(text, n)
