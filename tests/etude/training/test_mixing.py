from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.data.corpus import prepare
from etude.data.source import indices_by_source
from etude.objective.loader import Ranks
from etude.training.assemble import assemble


def test_trained_tokens_have_the_weights_though_samples_differ_in_length(tmp_path: Path) -> None:
    data = tiny.mixture(tmp_path / "t", weights={"digits": 1.0, "letters": 3.0}, pack=False)
    run = tiny.experiment("clm", tmp_path, trainer={"max_steps": 64})
    run = replace(run, data=data)
    made = tiny.training_parts(run)
    source = made.loader.source
    is_digit = set(indices_by_source(made.train)["digits"])
    tokens = Counter[bool]()
    for _ in range(64):
        step = source.next_step_batch()
        for sample, one in zip(step.ids, step.examples, strict=True):
            tokens[sample in is_digit] += made.objective.count(made.objective.collate([one]))
    assert tokens[True] / tokens.total() == pytest.approx(0.25, abs=0.02)
    assert any("digits: 25." in note or "digits: 24." in note for note in made.objective.notes)


def test_ranks_and_micro_batches_read_the_same_samples(tmp_path: Path) -> None:
    data = tiny.mixture(tmp_path / "t", weights={"digits": 1.0, "letters": 3.0})
    run = replace(tiny.experiment("clm", tmp_path), data=data)
    corpus = prepare(run)
    alone = assemble(run, corpus, Ranks()).loader.source
    parts = [assemble(run, corpus, Ranks(rank, 2)).loader.source for rank in range(2)]
    for _ in range(5):
        ids = alone.next_step_batch().ids
        assert [i for part in parts for i in part.next_step_batch().ids] == ids
