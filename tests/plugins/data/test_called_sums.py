import re

import numpy as np
import pytest

from etude.plugins.data.called_sums import CalledSums, CalledSumsConfig
from etude.plugins.environment.calculator import Calculator, CalculatorConfig
from etude.records import Prompt


def records(**config: float) -> list[Prompt]:
    return list(CalledSums(CalledSumsConfig(**config)).records())  # type: ignore[arg-type]


def test_every_problem_is_correct_and_occurs_once() -> None:
    found = records(digits=1, n_problems=81, called=0.0)
    assert {str(record.prompt) for record in found} == {
        f"{a} + {b} =" for a in range(1, 10) for b in range(1, 10)
    }
    for record in found:
        a, b = map(int, re.findall(r"\d+", str(record.prompt)))
        assert record.answer == str(a + b)


def test_the_result_in_a_text_is_what_the_calculator_replies() -> None:
    calculator = Calculator(CalculatorConfig())
    for record in records(n_problems=50, called=1.0, digits=7):
        assert record.answer is not None
        call, closing, rest = record.answer.partition(calculator.config.closing)
        reply = calculator.step({}, call + closing, np.random.default_rng(0))
        assert reply.text is not None
        assert rest.startswith(reply.text)
        assert reply.text == f"<result>{rest.removeprefix(reply.text)}</result>"


def test_the_fraction_of_calls_is_the_configured_one() -> None:
    found = records(n_problems=4000, called=0.25)
    assert sum("<calc>" in str(record.answer) for record in found) / 4000 == pytest.approx(
        0.25, abs=0.03
    )


@pytest.mark.parametrize(
    "values", [{"digits": 0}, {"called": 1.5}, {"n_problems": 1}, {"call": "x"}, {"result": "{}{}"}]
)
def test_values_outside_their_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        records(**values)
