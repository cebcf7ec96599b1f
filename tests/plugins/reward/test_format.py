import pytest
import tiny

from etude.config.registry import build


def test_reasoning_must_come_first_and_once_followed_by_an_answer() -> None:
    reward = build(tiny.part("reward", "format"))
    right = ["<think>a</think>b", " <think>\na\n</think>\nb\n"]
    wrong = ["b", "<think>a</think>", "<think></think>b", "b<think>a</think>b"]
    assert reward(["?"] * 6, right + wrong, [None] * 6) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_tags_can_be_configured_and_must_be_distinct() -> None:
    reward = build(tiny.part("reward", "format", start="[", end="]"))
    assert reward(["?"] * 2, ["[a]b", "<think>a</think>b"], [None] * 2) == [1.0, 0.0]
    with pytest.raises(ValueError, match="start must be a tag"):
        tiny.part("reward", "format", start="")
    with pytest.raises(ValueError, match="neither of start and end may contain the other"):
        tiny.part("reward", "format", start="|", end="|")
