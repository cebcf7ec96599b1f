import re

import pytest

from etude.config.registry import build
from etude.plugins.data.worked_sums import WorkedSumsConfig, columns


def test_every_step_check_and_answer_is_correct() -> None:
    records = list(build(WorkedSumsConfig(digits=3, n_problems=2000)).records())
    assert len({record.prompt for record in records}) == 2000
    for record in records:
        left, right = map(int, record.prompt.removesuffix(" =").split(" + "))
        assert {len(str(left)), len(str(right))} == {3}
        steps = re.findall(r"([0-9+-]+)=([0-9]+)", record.answer)
        assert all(eval(step) == int(result) for step, result in steps)
        assert record.answer.split()[-1] == str(left + right)
    worked = [r for r in records if "so" in r.answer]
    checked = [r for r in worked if "check" in r.answer]
    assert len(worked) / 2000 == pytest.approx(0.6, abs=0.05)
    assert len(checked) / 2000 == pytest.approx(0.2, abs=0.05)


def test_the_carry_is_added_to_the_next_column() -> None:
    assert columns(347, 285) == "7+5=12, 4+8+1=13, 3+2+1=6"
    assert columns(95, 4 + 80) == "5+4=9, 9+8=17"


@pytest.mark.parametrize(
    ("key", "value"),
    [("digits", 0), ("digits", 13), ("worked", -0.1), ("checked", 1.5), ("n_problems", 1)],
)
def test_invalid_values_are_rejected_by_key_and_value(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        WorkedSumsConfig(**{key: value})
    with pytest.raises(ValueError, match="worked \\+ checked must be at most 1"):
        WorkedSumsConfig(worked=0.7, checked=0.4)


def test_the_cue_asks_for_the_answers_that_are_worked_out_and_for_no_others() -> None:
    without, cued = (
        list(build(WorkedSumsConfig(n_problems=200, cue=cue)).records()) for cue in ("", "Steps:")
    )
    for plain, asked in zip(without, cued, strict=True):
        wanted = " Steps:" if "so" in plain.answer else ""
        assert (asked.prompt, asked.answer) == (plain.prompt + wanted, plain.answer)
