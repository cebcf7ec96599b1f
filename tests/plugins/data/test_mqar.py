import re

import pytest

from etude.config.registry import build
from etude.plugins.data.mqar import MqarConfig


def test_the_answer_is_the_value_of_each_queried_key() -> None:
    for record in build(MqarConfig(n_pairs=5, n_queries=3, n_problems=200)).records():
        pairs, queries = record.prompt.removesuffix("=").split("?")
        table = dict(re.findall("([a-z])([A-Z])", pairs))
        assert (len(pairs), len(table), len(set(queries))) == (10, 5, 3)
        assert record.answer == "".join(table[key] for key in queries)


def test_the_problems_are_distinct_and_depend_only_on_the_seed() -> None:
    one, same, other = (
        list(build(MqarConfig(n_problems=50, problem_seed=seed)).records()) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len({record.prompt for record in one}) == 50


@pytest.mark.parametrize(
    ("key", "value"), [("n_pairs", 1), ("n_pairs", 27), ("n_queries", 0), ("n_queries", 9)]
)
def test_values_out_of_range_are_errors(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        MqarConfig(**{key: value})
