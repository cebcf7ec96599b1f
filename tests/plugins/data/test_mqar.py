import re

import pytest

from etude import Chat
from etude.config.registry import build
from etude.plugins.data.mqar import MqarConfig


def problems(**values: int) -> list[Chat]:
    return list(build(MqarConfig(**values)).records())


def test_every_query_is_answered_by_the_value_of_its_key() -> None:
    for chat in problems(n_pairs=5, n_queries=3, n_problems=200):
        first, *rest = (message.content for message in chat.messages)
        pairs, query = first.split("?")
        table = dict(re.findall("([a-z])([A-Z])", pairs))
        turns = [query, *rest]
        queries, answers = turns[::2], turns[1::2]
        assert (len(pairs), len(table), len(set(queries))) == (10, 5, 3)
        assert answers == [table[key] for key in queries]
        assert {message.role for message in chat.messages[1::2]} == {"assistant"}


def test_the_problems_are_distinct_and_depend_only_on_the_seed() -> None:
    one, same, other = (problems(n_problems=50, problem_seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(set(one)) == 50


@pytest.mark.parametrize(
    ("key", "value"), [("n_pairs", 1), ("n_pairs", 27), ("n_queries", 0), ("n_queries", 9)]
)
def test_values_out_of_range_are_errors(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        MqarConfig(**{key: value})
