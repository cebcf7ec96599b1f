import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.data.corpus import prepare
from etude.data.source import indices_by_source
from etude.objective.loader import Ranks
from etude.planning.forecast import forecast
from etude.training.assemble import assemble
from etude.training.run import start


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
            n = made.objective.count(made.objective.collate([one]))
            tokens[sample in is_digit] += int(n)
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


def test_a_source_without_a_held_out_sample_among_the_first_has_no_metrics(tmp_path: Path) -> None:
    data = tiny.mixture(tmp_path / "t")
    trainer = {"max_steps": 1, "val_samples": 1}
    run = replace(tiny.experiment("clm", tmp_path, trainer=trainer), data=data)
    (line,) = tiny.fit(run, tiny.training_parts(run), tmp_path / "run")
    assert ["val/digits/loss" in line, "val/letters/loss" in line].count(True) == 1
    assert line["val/loss"] in (line.get("val/digits/loss"), line.get("val/letters/loss"))


def test_the_plan_and_the_card_have_the_share_and_the_epochs_of_each_source(tmp_path: Path) -> None:
    data = tiny.mixture(tmp_path / "t", weights={"digits": 1.0, "letters": 3.0})
    run = replace(tiny.experiment("clm", tmp_path, trainer={"max_steps": 8}), data=data)
    start(replace(run, run=str(tmp_path / "run")), "tiny", [])
    card = json.loads((tmp_path / "run" / "data_card.json").read_text())
    planned = card["planned"]
    assert planned["letters"]["share"] == pytest.approx(0.75, abs=0.03)
    assert sum(one["samples"] for one in planned.values()) == 64
    for name, one in planned.items():
        rows = card["sources"][name]["train"]["rows"]
        assert one["epochs"] == pytest.approx(one["samples"] / rows)
    assert sum(card["sources"][n]["train"]["records"] for n in planned) == card["train"]["records"]
    notes = forecast(run, prepare(run)).notes
    assert [note.split()[1] for note in notes] == ["digits:", "letters:"]
