"""Replayed text is a share of all samples, picked evenly, and every token of it is trained on."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tiny

from etude.data.source import Samples
from etude.data.token_rows import TokenRow
from etude.errors import ConfigError
from etude.plugins.objective._sft.replay import Mixture, pretraining_text


def test_the_others_are_a_share_of_the_mixture_picked_at_even_intervals() -> None:
    samples, others, few = (cast(Samples, range(*ends)) for ends in ((30,), (100, 140), (100, 103)))
    mixed = Mixture(samples, others, 0.25)
    assert len(mixed) == 40
    assert [mixed[i] for i in range(30)] == list(range(30))
    assert [mixed[i] for i in range(30, 40)] == list(range(100, 140, 4))
    again = Mixture(samples, few, 0.25)
    assert [again[i] for i in range(30, 40)] == [100] * 4 + [101] * 3 + [102] * 3


def test_fine_tuning_trains_on_the_replayed_text(tmp_path: Path) -> None:
    config = tiny.experiment("sft", tmp_path, trainer={"max_steps": 2})
    given = replace(config.objective, replay=str(tiny.teacher_run(tmp_path)), replay_share=0.5)
    made = tiny.training_parts(replace(config, objective=given))
    source = made.loader.source
    rows = [example for _ in range(10) for example in source.next_step_batch().examples]
    whole = [row for row in rows if all(part.trained.all() for part in row)]
    assert 25 < len(whole) < 55  # of 80
    targets = made.objective.collate(whole).targets
    assert np.isclose(made.objective.count(made.objective.collate(whole)), targets.where.sum())
    assert int(targets.where.sum()) == sum(len(part.ids) - 1 for row in whole for part in row)


def test_a_missing_run_is_refused_with_the_name_of_the_knob(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective.replay=.*cannot be used"):
        pretraining_text(str(tmp_path / "nothing"), tiny.BYTES, 16)


def test_replayed_rows_are_those_that_the_run_was_trained_on(tmp_path: Path) -> None:
    rows = pretraining_text(str(tiny.teacher_run(tmp_path)), tiny.BYTES, 16)
    trained = tiny.training_parts(tiny.experiment("clm", tmp_path)).train
    assert len(rows) == len(trained)
    for i in range(len(rows)):
        assert isinstance(rows[i], TokenRow)
        assert rows[i].tokens.tolist() == trained[i].tokens.tolist()
