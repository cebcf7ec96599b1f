import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.cli.main import main
from etude.plugins.environment.calculator import Calculator, CalculatorConfig, calculate

RNG = np.random.default_rng(0)


def reply(turn: str, **config: Any) -> str | None:
    return Calculator(CalculatorConfig(**config)).step({}, turn, RNG).text


def test_a_thousand_random_expressions_have_the_value_that_python_gives_them() -> None:
    draw = random.Random(0)

    def expression(depth: int) -> str:
        if depth == 0:
            return str(draw.randrange(10 ** draw.randint(1, 12)))
        left, right = expression(depth - 1), expression(draw.randrange(depth))
        return f"({left} {draw.choice(['+', '-', '*', '//', '%'])} {right})"

    compared = 0
    for _ in range(1000):
        text = expression(draw.randint(1, 3))
        try:
            wanted = str(eval(text))
        except ZeroDivisionError:
            wanted = "error"
        if len(text) <= 200:
            assert calculate(text) == wanted
            compared += wanted != "error"
    assert compared > 900


@pytest.mark.parametrize(
    ("text", "result"),
    [("1/3", "0.3333333333"), ("2**100", str(2**100)), (" -(-5) ", "5"), ("0.1+0.2", "0.3")],
)
def test_other_operators_give_ten_digits_or_an_exact_integer(text: str, result: str) -> None:
    assert calculate(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "__import__('os')", "(1).real", "[1][0]", "True+1", "'a'*9", "1 if 1 else 2",
        "9**9**9", "2**-1000000", "(-8)**0.5", "1/0", "1e308*1e308", "1e999", "1,2", "1;2", "\0",
        "(" * 150, "9" * 5000, "lambda: 1", "1j", "10**100**100", "2**2**2**2**2**2",
    ],
)  # fmt: skip
def test_what_is_not_arithmetic_or_too_large_is_an_error(text: str) -> None:
    assert calculate(text) == "error"


def test_the_last_call_of_a_turn_is_answered_and_a_turn_without_one_ends_the_episode() -> None:
    assert reply("12*34 is <calc>12*34</calc>") == "<result>408</result>"
    assert reply("<calc>1+1 <calc>2+2</calc>") == "<result>4</result>"
    assert reply("the answer is 408") is None
    assert reply("408</calc>") is None
    assert reply("<calc>1+1") is None
    assert reply("[9*9=", opening="[", closing="=", result="{}]") == "81]"
    assert reply("<calc>2**100</calc>", max_chars=3) == "<result>126</result>"


@pytest.mark.parametrize(
    ("key", "value"), [("closing", ""), ("opening", ""), ("result", "x"), ("max_chars", 0)]
)
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        CalculatorConfig(**{key: value})


SMALL = ["debug=fast", "tokenizer=byte", "trainer.global_batch=8", "trainer.max_steps=1"]


def test_it_trains_and_inspect_shows_whose_tokens_are_whose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    letters = "objective.stop=[a,e,i,o,u]"
    game = ["environment=guess_number", "reward=[]", "data.seq_len=80"]
    chosen = ["objective=grpo", *game, letters, "objective.max_new_tokens=40", *SMALL]
    assert main(["inspect", *chosen]) == 0
    shown = capsys.readouterr().out
    assert "advantage" in shown
    assert "Guess" in "".join(shown.split())
    calculator = ["objective=grpo", "environment=calculator", "objective.max_new_tokens=8"]
    assert main(["train", *calculator, *SMALL, "run=run"]) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=dpo"], "Objectives that do: gdpo, grpo, "),
        (["objective=online_dpo"], "cannot be used with objective=online_dpo"),
        (["objective=grpo", "architecture=t5"], "Architectures that continue their prompt: dec"),
        (["objective=grpo", "environment.max_turns=0"], "max_turns must be at least 1, got 0"),
        (["objective=grpo", "reward=[]"], "no reward is chosen"),
    ],
)
def test_what_it_cannot_be_combined_with_is_refused(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "environment=calculator", *overrides]) == 2
    assert message in capsys.readouterr().err
