import tiny

from etude.config.registry import build


def test_python_is_paid_and_neither_prose_nor_a_lone_word_is() -> None:
    reward = build(tiny.part("reward", "python_parses"))
    programs = ["x = 1", "print('hi')", "As follows:\n```python\nif x:\n    y()\n```", "'\\d' + a"]
    other = ["As follows:", "if x:", "yes", "# yes", "", "```python\nif x:\n```"]
    assert reward(["?"] * 10, programs + other, [None] * 10) == [1.0] * 4 + [0.0] * 6
