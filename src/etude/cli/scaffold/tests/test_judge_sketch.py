from etude.plugins.judge.sketch import Sketch, SketchConfig
from etude.rl.judge import Comparison


def test_the_shorter_answer_wins_and_equal_lengths_tie() -> None:
    pairs = [Comparison("?", *answers) for answers in (("a", "bbb"), ("aaa", "b"), ("aa", "bb"))]
    assert Sketch(SketchConfig())(pairs) == [1.0, 0.0, 0.5]
    assert Sketch(SketchConfig(margin=2))(pairs) == [0.5, 0.5, 0.5]
