import re

import pytest

from etude.config.registry import build
from etude.plugins.data.fuzzy_recall import FuzzyRecallConfig


def test_the_answer_is_the_value_of_the_queried_key() -> None:
    lengths: set[int] = set()
    for record in build(FuzzyRecallConfig(n_pairs=4, n_problems=200)).records():
        pairs, query = record.prompt.removesuffix("=").split("?")
        table = dict(re.findall("([a-z]+)([A-Z]+)", pairs))
        assert len(table) == 4
        assert record.answer == table[query]
        lengths |= {len(motif) for pair in table.items() for motif in pair}
    assert lengths == {1, 2, 3}


@pytest.mark.parametrize(("key", "value"), [("n_pairs", 1), ("n_pairs", 27), ("max_motif", 0)])
def test_values_out_of_range_are_errors(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        FuzzyRecallConfig(**{key: value})
