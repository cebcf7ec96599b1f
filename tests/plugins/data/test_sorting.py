import pytest

from etude.config.registry import build
from etude.plugins.data.sorting import SortingConfig


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def test_every_answer_is_the_sorted_list_and_no_list_occurs_twice() -> None:
    config = SortingConfig(min_length=2, max_length=4, largest=30, n_problems=400)
    records = list(build(config).records())
    assert len({record.prompt for record in records}) == 400
    lengths: set[int] = set()
    for record in records:
        listed = numbers(record.prompt.removeprefix("Sort: ").removesuffix("="))
        assert numbers(record.answer) == sorted(listed)
        assert all(0 <= number <= 30 for number in listed)
        lengths.add(len(listed))
    assert lengths == {2, 3, 4}


def test_the_problems_depend_only_on_the_seed() -> None:
    one, same, other = (
        list(build(SortingConfig(n_problems=50, problem_seed=seed)).records()) for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("key", "value"), [("min_length", 1), ("min_length", 9), ("largest", 0), ("n_problems", 1)]
)
def test_invalid_values_are_rejected_by_key_and_value(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        SortingConfig(**{key: value})
    with pytest.raises(ValueError, match="n_problems must be 2 to 4 "):
        SortingConfig(min_length=3, max_length=3, largest=1, n_problems=5)
