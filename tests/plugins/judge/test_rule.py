import math

import pytest
import tiny

from etude.config.registry import build
from etude.rl.judge import Comparison


def test_the_higher_reward_wins_unless_the_difference_is_within_the_margin() -> None:
    gold = build(tiny.part("reward", "length", target=4))
    pairs = [Comparison("?", *texts) for texts in (("aaaa", "a"), ("a", "aaaa"), ("aaa", "aaaaa"))]
    assert build(tiny.part("judge", "rule"), gold)(pairs) == [1.0, 0.0, 0.5]
    assert build(tiny.part("judge", "rule", margin=1.0), gold)(pairs) == [0.5] * 3
    with pytest.raises(ValueError, match="margin must be 0 or more"):
        tiny.part("judge", "rule", margin=-1.0)


def test_without_a_verdict_of_the_reward_there_is_no_verdict() -> None:
    judge = build(tiny.part("judge", "rule"), build(tiny.part("reward", "numeric")))
    assert math.isnan(judge([Comparison("?", "1", "2", "no number")])[0])
    assert judge([Comparison("?", "1", "2", "2")]) == [0.0]
