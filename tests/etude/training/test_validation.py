import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from etude.config.schema.trainer import NonFinite
from etude.data.token_rows import TokenRow
from etude.errors import ConfigError
from etude.files.run_folder import SUMMARY
from etude.objective.loader import Ranks
from etude.training.run import start
from etude.training.validation import Validation

OBJECTIVES = ["clm", "mlm", "seq2seq", "fim", "dpo", "grpo"]
REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}


def curve(name: str, folder: Path, **trainer: Any) -> list[dict[str, Any]]:
    more = {"reward": REWARD} if name == "grpo" else {}
    config = tiny.experiment(name, folder, dropout=0.1, trainer=trainer, **more)
    made = tiny.training_parts(config, tiny.remainder if name == "grpo" else None)
    place = folder / "-".join(map(str, trainer.values()))
    return tiny.fit(config, made, place)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_validation_does_not_affect_training(name: str, tmp_path: Path) -> None:
    often, seldom = (curve(name, tmp_path, val_every=n) for n in (1, 5))
    assert all("val/loss" in line for line in often)
    assert ["val/loss" in line for line in seldom] == [False] * 4 + [True]
    for line in (*often, *seldom):
        for key in [key for key in line if key.startswith("val/") and line["step"] < 5]:
            del line[key]
    assert often == seldom


@pytest.mark.parametrize("name", OBJECTIVES)
def test_validation_does_not_depend_on_the_batch_size(name: str, tmp_path: Path) -> None:
    more = {"reward": REWARD} if name == "grpo" else {}
    config = tiny.experiment(name, tmp_path, trainer={"max_steps": 1}, **more)
    made = tiny.training_parts(config, tiny.remainder if name == "grpo" else None)
    tiny.fit(config, made, tmp_path / "run")
    objective, held_out = made.objective, made.validation
    assert 1 < held_out.n_samples == len(held_out.samples)
    wanted = held_out.measure(objective)
    for batch in (1, 3, 100):
        found = replace(held_out, batch=batch).measure(objective)
        assert found == pytest.approx(wanted, rel=1e-12)


def test_it_is_the_mean_over_all_held_out_samples_without_dropout(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, dropout=0.5, trainer={"max_steps": 1})
    made = tiny.training_parts(config)
    (line,) = tiny.fit(config, made, tmp_path / "run")
    objective = made.objective
    assert objective.training
    assert objective.network.training
    objective.eval()
    batch = objective.collate([made.validation.samples[i] for i in range(made.plan.n_val)])
    with torch.no_grad():
        mean = float(objective.loss(batch).total) / objective.count(batch)
    assert line["val/loss"] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("name", ["mlm", "sop", "prefix_lm"])
def test_a_validation_of_nothing_is_nan_and_says_so(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.experiment(name, tmp_path, trainer={"max_steps": 2, "val_every": 1})
    made = tiny.training_parts(config)
    empty = TokenRow(np.array([0, 1]), np.array([1, 1]), 0.0)  # special tokens alone
    made = replace(made, validation=replace(made.validation, samples=[empty] * 3, n_samples=3))
    for line in tiny.fit(config, made, tmp_path / "run"):
        assert all(math.isnan(value) for key, value in line.items() if key.startswith("val/"))
        assert math.isfinite(line["loss"])
    (note,) = made.objective.notes
    assert note.startswith("undefined val/loss")
    assert note.endswith("none of the 3 held-out samples has anything to evaluate")
    assert capsys.readouterr().err.count(note) == 1


def test_a_metric_that_is_nan_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 1})
    made = tiny.training_parts(config)
    with torch.no_grad():
        next(iter(made.objective.network.parameters())).fill_(torch.nan)
    made.objective.tools = replace(made.objective.tools, non_finite=NonFinite.skip)
    tiny.fit(config, made, tmp_path / "run")
    (note,) = made.objective.notes
    assert note.startswith("undefined val/loss, val/perplexity, val/bits_per_byte: the network")
    assert note in capsys.readouterr().err


def test_val_samples_uses_the_first_samples_and_ranks_share_them(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 1, "val_samples": 3})
    made = tiny.training_parts(config)
    assert made.plan.n_val == 3
    tiny.fit(config, made, tmp_path / "run")
    read: list[int] = []

    class Recorded(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            return super().__getitem__(index)

    samples = Recorded(made.validation.samples[i] for i in range(5))
    for rank in range(2):
        Validation(samples, 3, 2, 0, Ranks(rank, 2)).measure(made.objective)
    assert sorted(read) == [0, 1, 2]


def with_callback(config: Any, name: str, **values: Any) -> Any:
    return replace(config, callback={name: tiny.part("callback", name, **values)})


@pytest.mark.parametrize("name", ["clm", "dpo", "grpo"])
def test_the_metrics_of_a_run_are_known_before_its_first_step(name: str, tmp_path: Path) -> None:
    more = {"reward": REWARD} if name == "grpo" else {}
    config = tiny.experiment(name, tmp_path, trainer={"max_steps": 1}, **more)
    made = tiny.training_parts(config, tiny.remainder if name == "grpo" else None)
    names = made.validation.metric_names(made.objective)
    assert not made.objective.notes
    (line,) = tiny.fit(config, made, tmp_path / "run")
    assert names == [key for key in line if key.startswith("val/")]


def test_an_unknown_metric_is_refused_before_the_run_folder_exists(tmp_path: Path) -> None:
    base = replace(tiny.experiment("clm", tmp_path), run=str(tmp_path / "run"))
    for config, key in (
        (replace(base, trainer=replace(base.trainer, keep_best="val/no")), "trainer.keep_best"),
        (with_callback(base, "early_stopping", metric="val/no"), "callback.early_stopping.metric"),
        (with_callback(base, "asha", metric="val/no"), "callback.asha.metric"),
    ):
        with pytest.raises(ConfigError, match=f"{key}=val/no.*(?s:.)*It reports: val/loss"):
            start(config, "tiny", [])
    assert not (tmp_path / "run").exists()


def test_a_best_model_that_never_had_a_finite_metric_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Validation, "measure", lambda self, objective: {"val/loss": math.nan, "val/x": math.nan}
    )
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 2, "keep_best": "val/loss"})
    start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    note = "best/ was not written, as val/loss was never finite"
    assert note in capsys.readouterr().out
    assert note in (tmp_path / "run" / SUMMARY).read_text()
