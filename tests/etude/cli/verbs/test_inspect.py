"""`etude inspect` shows the first step, and writes nothing but the page."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.cli.main import main
from etude.cli.pages.inspect.first_step import first_step
from etude.cli.pages.inspect.panels import panels
from etude.cli.pages.inspect.view import Step
from etude.config.plugin_files import addresses
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare
from etude.objective.loader import Ranks
from etude.training.assemble import TrainingParts, assemble
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
OBJECTIVES = [a.split("/")[1] for a in addresses() if re.fullmatch(r"objective/\w+", a)]


def assembled(objective: str, folder: Path) -> tuple[ExperimentConfig, TrainingParts]:
    on_policy = {"reward": {"regex": tiny.part("reward", "regex", pattern=r"[a-zA-Z0-9]")}}
    given = on_policy if objective in tiny.ON_POLICY else {}
    config = tiny.experiment(objective, folder, trainer={"micro_batch": 4}, **given)
    return config, assemble(config, prepare(config), Ranks())


def first(objective: str, folder: Path) -> Step:
    """The first step of a tiny run, with every sample."""
    return first_step(*assembled(objective, folder), 1000)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_counts_shown_are_those_that_the_loss_is_divided_by(
    objective: str, tmp_path: Path
) -> None:
    step = first(objective, tmp_path)
    assert sum(sample.count for sample in step.samples) == step.count > 0
    if objective not in (*tiny.ON_POLICY, "on_policy_distill"):
        assert next(iter(assembled(objective, tmp_path)[1].loader)).step_count == step.count
    rows = [row for sample in step.samples for row in sample.rows]
    trained = sum(row.n_trained for row in rows)
    assert trained == sum(counts.trained or 0 for counts in step.panels.values())
    if step.unit == "tokens":
        assert trained == step.count
    elif step.unit in ("words", "windows"):  # of which a sample has several
        assert step.count >= sum(sample.count > 0 for sample in step.samples)
    elif "tokens" not in step.unit:
        assert step.count == sum(sample.count > 0 for sample in step.samples)
    elif objective != "sop":
        assert step.count in [n for c in step.panels.values() for n in c.marks.values()]


@pytest.mark.parametrize("objective", ["clm", "mlm", "mdlm", "sft", "dpo"])
def test_the_tokens_shown_are_those_of_the_first_step_of_training(
    objective: str, tmp_path: Path
) -> None:
    step = first(objective, tmp_path)
    loader = iter(assembled(objective, tmp_path)[1].loader)
    trained = [next(loader).batch for _ in range(step.n_micro_batches)]
    name = next(name for name, counts in step.panels.items() if counts.trained)
    rows = [row for sample in step.samples for row in sample.rows if row.name == name]
    shown = [[(cell.id, cell.target_id) for cell in row.cells] for row in rows]
    batches = [panel for batch in trained for panel in panels(batch) if panel.name == name]
    assert shown == [
        [
            (token, due if is_trained else None)
            for token, document, due, is_trained in zip(*columns, strict=True)
            if document
        ]
        for panel in batches
        if panel.targets is not None
        for columns in zip(
            panel.inputs.tokens.tolist(),
            panel.documents.tolist(),
            panel.targets.ids.tolist(),
            panel.targets.where.tolist(),
            strict=True,
        )
    ]


@pytest.mark.parametrize("objective", tiny.ON_POLICY)
def test_completions_are_shown_with_the_reward_and_advantage_of_each_token(
    objective: str, tmp_path: Path
) -> None:
    step = first(objective, tmp_path)
    (row, *_) = step.samples[0].rows
    numbers = [cell.numbers for cell in row.cells if cell.target is not None]
    assert numbers
    assert "reward" in row.values or "reward" in step.samples[0].values or "reward" in numbers[0]
    if objective != "online_dpo":
        assert all("advantage" in one for one in numbers)
    if objective == "ppo":  # the last token gets the score, and the others the KL penalty alone
        assert numbers[-1]["reward"] in (0.0, 1.0)
        assert all(one["reward"] == pytest.approx(0, abs=1e-5) for one in numbers[:-1])


def test_a_sample_that_trains_nothing_is_named_and_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text of one token has no two segments for objective=sop."""
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("\n".join([*(f"line {i} of text" for i in range(9)), "a"]))
    data = ["data=text", "data.path=lines.txt", "data.document=line", "data.pack=false"]
    command = ["inspect", "objective=sop", "architecture=bert", *data, *SMALL, "n=0"]
    assert main([*command, "data.val_fraction=0.1"]) == 3
    error = capsys.readouterr().err
    assert "1 of 8 samples of step 1 train nothing: they add 0 text tokens" in error
    assert re.search(r"sample \d of 8 \(training sample \d\)", error)


def test_the_message_of_each_token_of_a_conversation_is_shown(tmp_path: Path) -> None:
    """Every trained token is a part of an answer."""
    rows = [row for sample in first("sft", tmp_path).samples for row in sample.rows]
    cells = [cell for row in rows for cell in row.cells]
    assert all(re.fullmatch(r"\d+ (system|user|assistant)", cell.label) for cell in cells)
    following = [after.label for row in rows for after in row.cells[1:]]
    before = [cell for row in rows for cell in row.cells[:-1]]
    pairs = zip(before, following, strict=True)
    assert all("assistant" in label for cell, label in pairs if cell.target is not None)


def test_what_of_the_data_is_not_used_is_shown_by_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chats = tiny.write_chats(tmp_path)
    chats.write_text(chats.read_text() + "no JSON\n")
    data = ["data=jsonl_chats", f"data.path={chats}", "template=plain", "data.val_fraction=0.2"]
    assert main(["inspect", "objective=sft", *data, *SMALL, "n=0"]) == 0
    out = capsys.readouterr().out
    assert "bad rows  1" in out
    assert "chats.jsonl:41: invalid JSON" in out
    assert re.search(r"not used  \d+: answers beyond data.seq_len", out)


def test_n_and_html_choose_what_is_shown_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_text(tmp_path)
    data = ["data=text", "data.path=lines.txt", "data.document=line"]
    assert main(["inspect", *data, *SMALL, "n=5", "html=page.html"]) == 0
    out = capsys.readouterr().out
    assert out.count("\nsample ") == 5
    assert out.splitlines()[-1] == str(tmp_path / "page.html")
    assert Path("page.html").read_text(encoding="utf-8").count("<section>") == 5
    assert main(["inspect", *data, *SMALL, "n=some"]) == 2
    assert "n must be a number of samples to show, got some" in capsys.readouterr().err
    assert main(["inspect", *data, *SMALL, "html=absent/page.html"]) == 2
    assert "html=absent/page.html cannot be written" in capsys.readouterr().err


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
    assert "sample 1 of 8" in out
    assert "input" in out
    assert "target" in out
    assert ("advantage: " in out) == (objective == "grpo")


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
