import pytest
import tiny

from etude.config.registry import build


def test_reasoning_comes_first_once_and_an_answer_behind_it() -> None:
    reward = build(tiny.part("reward", "format"))
    paid = ["<think>a</think>b", " <think>\na\n</think>\nb\n"]
    other = ["b", "<think>a</think>", "<think></think>b", "b<think>a</think>b"]
    assert reward(["?"] * 6, paid + other, [None] * 6) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_tags_are_the_users() -> None:
    reward = build(tiny.part("reward", "format", start="[", end="]"))
    assert reward(["?"] * 2, ["[a]b", "<think>a</think>b"], [None] * 2) == [1.0, 0.0]
    with pytest.raises(ValueError, match="start must be a tag"):
        tiny.part("reward", "format", start="")
    with pytest.raises(ValueError, match="told apart"):
        tiny.part("reward", "format", start="|", end="|")
