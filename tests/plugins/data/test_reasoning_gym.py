import pytest
import tiny

from etude.config.registry import build
from etude.errors import DataError
from etude.records import Prompt

pytest.importorskip("reasoning_gym")


def test_problems_have_correct_answers_and_depend_only_on_the_seed() -> None:
    config = tiny.part("data", "reasoning_gym", n_problems=20)
    records = list(build(config).records())
    assert records == list(build(config).records())
    assert len(records) == 20
    for record in records:
        assert isinstance(record, Prompt)
        terms = str(record.prompt).rpartition(":")[2].strip(" =.")
        assert eval(terms) == int(str(record.answer))
    other = tiny.part("data", "reasoning_gym", n_problems=20, problem_seed=1)
    assert records != list(build(other).records())


def test_an_unknown_task_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"data\.task=chain_some is not a reasoning-gym task"):
        list(build(tiny.part("data", "reasoning_gym", task="chain_some")).records())
    with pytest.raises(ValueError, match="n_problems must be at least 2"):
        tiny.part("data", "reasoning_gym", n_problems=1)
