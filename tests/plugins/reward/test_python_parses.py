import tiny

from etude.config.registry import build


def test_programs_are_rewarded_and_prose_or_single_words_are_not() -> None:
    reward = build(tiny.part("reward", "python_parses"))
    programs = ["x = 1", "print('hi')", "As follows:\n```python\nif x:\n    y()\n```", "'\\d' + a"]
    wrong = ["As follows:", "if x:", "yes", "# yes", "", "```python\nif x:\n```"]
    assert reward(["?"] * 10, programs + wrong, [None] * 10) == [1.0] * 4 + [0.0] * 6
