import re
from datetime import date

import pytest

from etude.config.registry import build
from etude.plugins.data.dates import DatesConfig


def test_every_answer_is_correct_and_no_problem_occurs_twice() -> None:
    records = list(build(DatesConfig(n_problems=2000)).records())
    assert len({record.prompt for record in records}) == 2000
    signs: set[str] = set()
    for record in records:
        match = re.fullmatch(r"(\S+) ([+-]) (\d+) days? =", record.prompt)
        assert match is not None
        begin, sign, n = match.groups()
        difference = date.fromisoformat(record.answer) - date.fromisoformat(begin)
        assert difference.days == (int(n) if sign == "+" else -int(n))
        assert 1 <= int(n) <= 40
        assert 1990 <= int(begin[:4]) <= 2029
        signs.add(sign)
    assert signs == {"+", "-"}


def test_all_distinct_problems_can_be_requested() -> None:
    config = DatesConfig(first_year=2023, last_year=2023, max_days=1, n_problems=730)
    records = list(build(config).records())
    assert len({record.prompt for record in records}) == 730
    assert all(" 1 day " in record.prompt for record in records)
    with pytest.raises(ValueError, match="n_problems must be 2 to 730 "):
        DatesConfig(first_year=2023, last_year=2023, max_days=1, n_problems=731)


def test_the_problems_depend_only_on_the_seed() -> None:
    one, same, other = (
        list(build(DatesConfig(n_problems=50, problem_seed=seed)).records()) for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("key", "value"), [("first_year", 3000), ("last_year", 9999), ("max_days", 0)]
)
def test_invalid_values_are_rejected_by_key_and_value(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{key} .*must be .* {value}"):
        DatesConfig(**{key: value})
