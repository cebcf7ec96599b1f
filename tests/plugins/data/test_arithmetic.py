import pytest

from etude.config.registry import build
from etude.plugins.data.arithmetic import ArithmeticConfig


def test_every_answer_is_correct_and_no_problem_occurs_twice() -> None:
    config = ArithmeticConfig(digits=2, operators="+-*", n_problems=2000)
    records = list(build(config).records())
    assert len({record.prompt for record in records}) == 2000
    for record in records:
        assert int(record.answer) == eval(record.prompt.removesuffix("="))


def test_all_distinct_problems_can_be_requested() -> None:
    records = list(build(ArithmeticConfig(digits=1, n_problems=200)).records())
    expected = {f"{a} {sign} {b} =" for a in range(10) for b in range(10) for sign in "+-"}
    assert {record.prompt for record in records} == expected


def test_the_problems_depend_only_on_the_seed() -> None:
    one, same, other = (
        list(build(ArithmeticConfig(n_problems=50, problem_seed=seed)).records())
        for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("key", "value"),
    [("digits", 0), ("operators", "/"), ("operators", "++"), ("operators", ""), ("n_problems", 1)],
)
def test_invalid_values_are_rejected_by_key_and_value(key: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value!r}".replace("+", r"\+")):
        ArithmeticConfig(**{key: value})
    with pytest.raises(ValueError, match="n_problems must be 2 to 200 "):
        ArithmeticConfig(digits=1, n_problems=201)
