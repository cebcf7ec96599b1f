"""The examples that a prompting plugin receives, and the votes that are refused."""

from typing import Any

import pytest
import tiny

from etude.config.schema.prompting import PromptingConfig
from etude.data.corpus import read
from etude.errors import CompositionError
from etude.evaluation.prompting import build_prompting, check_prompting
from etude.plugins.prompting._shots import Selection


def test_examples_are_the_training_split_alone() -> None:
    data = tiny.part("data", "arithmetic", n_problems=60, val_fraction=0.5)
    config = tiny.part("prompting", "few_shot", select=Selection.random)
    records: Any = read(data)
    shown = build_prompting(config, data, 0).examples.cases
    assert {one.record.prompt for one in shown} == {one.prompt for one in records.train}
    assert not {one.record.prompt for one in shown} & {one.prompt for one in records.val}


def test_data_is_not_read_if_no_examples_are_shown() -> None:
    missing = tiny.part("data", "jsonl_prompts", path="/missing.jsonl")
    assert not PromptingConfig().shows_examples
    for name in ("zero_shot", "chain_of_thought"):
        assert not build_prompting(tiny.part("prompting", name), missing, 0).examples.cases


@pytest.mark.parametrize("data", [None, "python_docs"])
def test_examples_of_data_without_answers_are_refused(data: str | None) -> None:
    config = tiny.part("prompting", "few_shot")
    given = None if data is None else tiny.part("data", data)
    with pytest.raises(CompositionError, match=r"such as data=jsonl_prompts"):
        build_prompting(config, given, 0)


def test_a_vote_on_equal_completions_is_refused_with_the_way_out() -> None:
    votes = tiny.part("prompting", "self_consistency")
    with pytest.raises(CompositionError, match="Use decoding=sample, or prompting=chain_of"):
        check_prompting(votes, tiny.part("decoding", "greedy"))
    for decoding in ("sample", "typical"):
        check_prompting(votes, tiny.part("decoding", decoding))
    check_prompting(tiny.part("prompting", "chain_of_thought"), tiny.part("decoding", "greedy"))
