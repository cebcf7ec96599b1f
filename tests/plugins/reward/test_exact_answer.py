import pytest
import tiny

from etude.config.registry import build
from etude.errors import DataError


def test_rewards_the_exact_answer_and_ignores_surrounding_white_space() -> None:
    reward = build(tiny.part("reward", "exact_answer"))
    completions = ["42", " 42\n", "420", "4 2", ""]
    assert reward(["?"] * 5, completions, ["42"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_with_after_only_the_text_after_the_reasoning_is_compared() -> None:
    reward = build(tiny.part("reward", "exact_answer", after="</think>"))
    completions = ["a</think>42", "</think>4</think>\n42 ", "42", "42</think>", "42</think>4"]
    assert reward(["?"] * 5, completions, ["42"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_prompt_without_a_reference_answer_is_an_error_that_quotes_it() -> None:
    with pytest.raises(DataError, match="the prompt 'who\\?' has none"):
        build(tiny.part("reward", "exact_answer"))(["1+1", "who?"], ["2", "me"], ["2", None])
