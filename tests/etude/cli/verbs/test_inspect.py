"""`etude inspect` shows the batch of step 1 and writes no files."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from etude.cli.main import main
from etude.cli.verbs.inspect import first_batch
from etude.data.corpus import prepare
from etude.objective.loader import Ranks
from etude.training.assemble import assemble
from etude.training.run import start

SMALL = ["tokenizer=byte", "data.seq_len=40", "trainer.global_batch=8", "architecture.n_layers=1"]
CHOICES = {
    "clm": ["architecture=gpt2"],
    "mlm": ["architecture=bert", "data.intra_document=true"],
    "seq2seq": ["architecture=t5"],
    "sft": ["tokenizer=byte"],
    "dpo": ["architecture=llama"],
    "grpo": ["objective.max_new_tokens=8"],
}
TEXT = ("clm", "mlm", "seq2seq")


def tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    if not is_dataclass(batch):
        return []
    return [tensor for item in fields(batch) for tensor in tensors(getattr(batch, item.name))]


@pytest.mark.parametrize("objective", [*TEXT, "sft", "dpo"])
def test_the_batch_shown_is_the_first_micro_batch_of_training(
    objective: str, tmp_path: Path
) -> None:
    config = tiny.experiment(objective, tmp_path, trainer={"micro_batch": 4})
    corpus = prepare(config)
    parts = assemble(config, corpus, Ranks())
    trained = next(iter(parts.loader)).batch
    pairs = zip(tensors(first_batch(config, parts)), tensors(trained), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("objective", CHOICES)
def test_a_batch_of_every_objective_is_shown_and_nothing_is_written(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [f"objective={objective}", *SMALL, *CHOICES[objective]]
    if objective == "sft":
        tiny.write_chats(tmp_path)
        overrides += ["data=jsonl_chats", "data.path=chats.jsonl"]
    if objective in TEXT:
        tiny.write_text(tmp_path)
        overrides += ["data=text", "data.path=lines.txt", "data.document=line"]
    elif objective == "dpo":
        tiny.write_preferences(tmp_path)
        overrides += ["data=jsonl_preferences", "data.path=preferences.jsonl"]
    before = sorted(tmp_path.rglob("*"))
    assert main(["inspect", *overrides]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    out = capsys.readouterr().out
    assert "row 1 of 8" in out
    assert ("input" in out and "target" in out) == (objective != "grpo")
    assert ("records: " in out) == (objective == "grpo")


def test_a_sweep_is_refused_and_cfg_prints_the_config(capsys: Any) -> None:
    assert main(["inspect", "-m", "seed=0,1"]) == 2
    assert "takes one experiment" in capsys.readouterr().err
    assert main(["inspect", "--cfg", "job"]) == 0
    assert "objective:" in capsys.readouterr().out


def test_choices_that_train_refuses_are_refused(capsys: Any) -> None:
    assert main(["inspect", "objective=mlm", "architecture=gpt2"]) == 2
    assert "BOTH_SIDES" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["inspect", "data", "plan"])
def test_an_existing_run_is_shown_as_it_was_started(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own config and tokenizer; another setting than the run's is refused."""
    monkeypatch.chdir(tmp_path)
    config = tiny.experiment("mlm", tmp_path)
    trainer = replace(config.trainer, max_steps=2, val_samples=2)
    start(replace(config, run="one", trainer=trainer), "tiny", [])
    capsys.readouterr()
    more = ["calibrate=0"] if verb == "plan" else []
    assert main([verb, "run=one", *more]) == 0
    shown = capsys.readouterr().out
    assert {"inspect": "<mask>", "data": "tokens", "plan": "steps: 2 "}[verb] in shown
    assert main([verb, "run=one", "optimizer.lr=0.5", *more]) == 2
    assert "optimizer.lr: 0.001, now 0.5" in capsys.readouterr().err
