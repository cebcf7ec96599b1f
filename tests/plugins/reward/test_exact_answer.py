import pytest
import tiny

from etude.config.registry import build
from etude.errors import DataError


def test_pays_1_for_the_answer_with_any_white_space_around_it_and_0_for_the_rest() -> None:
    reward = build(tiny.part("reward", "exact_answer"))
    completions = ["42", " 42\n", "420", "4 2", ""]
    assert reward(["?"] * 5, completions, ["42"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_reasoning_is_left_out_of_the_answer_where_the_config_says_what_ends_it() -> None:
    reward = build(tiny.part("reward", "exact_answer", after="</think>"))
    completions = ["a</think>42", "</think>4</think>\n42 ", "42", "42</think>", "42</think>4"]
    assert reward(["?"] * 5, completions, ["42"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_prompt_without_an_answer_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="the prompt 'who\\?' has none"):
        build(tiny.part("reward", "exact_answer"))(["1+1", "who?"], ["2", "me"], ["2", None])
