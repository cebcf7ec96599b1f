import pytest

from etude.config.registry import build
from etude.plugins.data.copying import CopyingConfig


def test_the_answer_is_the_prompt_and_all_lengths_occur() -> None:
    config = CopyingConfig(min_length=3, max_length=5, n_problems=100)
    records = list(build(config).records())
    assert all(record.prompt == f"{record.answer}=" for record in records)
    assert {len(record.answer) for record in records} == {3, 4, 5}


def test_lengths_without_enough_problems_are_errors() -> None:
    with pytest.raises(ValueError, match="min_length must be 1 to max_length=4, got 5"):
        CopyingConfig(min_length=5, max_length=4)
    with pytest.raises(ValueError, match=r"n_problems must be at most 13, half of .* got 14"):
        CopyingConfig(min_length=1, max_length=1, n_problems=14)
    with pytest.raises(ValueError, match="n_problems must be at least 2, got 1"):
        CopyingConfig(n_problems=1)
