"""Adapter runs: their base is checked, only adapter tensors are saved, and resuming is exact."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import pytest
import tiny
import torch
from torch import Tensor

from etude.config.compatibility import check
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import CheckpointError, CompositionError, ConfigError
from etude.formats.model import read_model
from etude.network.adapter import adapt, layers, parameter_counts
from etude.network.inputs import Inputs
from etude.objective.reference import Frozen, reference_of
from etude.training.continuation import inherit_from_parent
from etude.training.run import start
from etude.training.run_writer import RunWriter

UNMERGEABLE = ["houlsby", "prefix", "prompt_tuning"]
every = pytest.mark.parametrize("kind", adapters.KINDS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    """The base run that adapter runs start from."""
    folder = tmp_path_factory.mktemp("base")
    trainer = {"max_steps": 2, "precision": "32"}
    config = replace(tiny.experiment("clm", folder, trainer=trainer), run=str(folder / "run"))
    start(config, "tiny", [])
    return config


def adapter_run(base: ExperimentConfig, kind: str, run: Path, **trainer: Any) -> ExperimentConfig:
    """Returns the config of an adapter run on the base."""
    return replace(
        base,
        init_from=base.run,
        adapter=adapters.choice(kind),
        run=str(run),
        optimizer=replace(base.optimizer, lr=0.05),
        trainer=replace(base.trainer, **{"max_steps": 4, "save_every": 2} | trainer),
    )


def train(config: ExperimentConfig) -> Path:
    return start(config, "tiny", [])


@torch.no_grad()
def logits(run: Path) -> Tensor:
    model = read_model(run)
    return model.network().eval()(Inputs(tiny.tokens(2, 6, vocab=model.tokenizer.vocab)))


def digests(folder: Path) -> dict[str, Any]:
    """Returns the manifest entries of a saved model, by file name."""
    return json.loads((folder / "manifest.json").read_text())["files"]


@pytest.mark.slow
@every
def test_the_saved_adapter_is_small_and_reproduces_the_logits_of_the_last_step(
    base: ExperimentConfig, kind: str, tmp_path: Path
) -> None:
    run = train(adapter_run(base, kind, tmp_path / "run"))
    assert not (run / "model").exists()
    found = logits(run)
    assert not torch.equal(found, logits(Path(str(base.run))))
    size = sum(entry["size"] for entry in digests(run / "adapter").values())
    whole = sum(p.stat().st_size for p in Path(str(base.run), "model").glob("*.safetensors"))
    assert kind == "freeze" or size < whole / 2
    (run / "adapter").rename(run / "aside")  # then the last checkpoint is read, which is exact
    torch.testing.assert_close(found, logits(run), rtol=0, atol=1e-6)


def test_the_number_of_trainable_parameters_is_printed_and_saved(
    base: ExperimentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(adapter_run(base, "ia3", tmp_path / "run", max_steps=1))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["trainable"] == 16 + 16 + 64  # keys, values and hidden features of one layer
    share = summary["trainable"] / summary["parameters"]
    assert (
        f"trains 96 of {summary['parameters']:,} parameters ({share:.2%})"
        in capsys.readouterr().out
    )


@every
def test_the_optimizer_holds_only_trainable_parameters(
    base: ExperimentConfig, kind: str, tmp_path: Path
) -> None:
    made = tiny.training_parts(adapter_run(base, kind, tmp_path))
    optimizer = made.objective.tools.optimizer(made.objective)[0]
    held = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert held == parameter_counts(made.objective.network)["trainable"]


@pytest.mark.slow
@every
def test_a_killed_adapter_run_resumes_exactly(
    base: ExperimentConfig, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropping = replace(base, architecture=replace(base.architecture, dropout=0.1))
    whole = train(adapter_run(dropping, kind, tmp_path / "whole"))
    killed = adapter_run(dropping, kind, tmp_path / "killed")
    write = RunWriter._write

    def write_until_step_3(self: RunWriter, line: dict[str, Any]) -> None:
        write(self, line)
        if line["step"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write", write_until_step_3)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            start(killed, "tiny", [])
    run = train(killed)
    assert tiny.untimed_steps(run) == tiny.untimed_steps(whole)
    mine, wanted = (digests(folder / "adapter") for folder in (run, whole))
    assert {n: e for n, e in mine.items() if n.endswith("safetensors")} == {
        n: e for n, e in wanted.items() if n.endswith("safetensors")
    }


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["clm", "dpo"])
@every
def test_the_micro_batch_size_does_not_change_the_loss_curve(
    kind: str, objective: str, tmp_path: Path
) -> None:
    lines: list[list[dict[str, Any]]] = []
    for cut in (8, 2):
        config = tiny.experiment(objective, tmp_path, trainer={"micro_batch": cut, "max_steps": 3})
        config = replace(config, adapter=adapters.choice(kind))
        lines.append(tiny.fit(config, tiny.training_parts(config), tmp_path / str(cut)))
    for line, wanted in zip(*lines, strict=True):
        assert line.pop("samples") == wanted.pop("samples")
        assert line == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNMERGEABLE)
def test_an_adapter_that_cannot_merge_is_trained_further_by_a_run_that_starts_from_it(
    base: ExperimentConfig, kind: str, tmp_path: Path
) -> None:
    first = train(adapter_run(base, kind, tmp_path / "first"))
    plain = replace(base, init_from=str(first), run=str(tmp_path / "second"))
    config = inherit_from_parent(plain, [f"init_from={first}"])
    assert config.adapter == adapters.choice(kind)
    made = tiny.training_parts(config)
    network = made.objective.network
    assert layers(network)
    sizes = parameter_counts(network)
    assert sizes["trainable"] < sizes["parameters"] / 2
    reference = reference_of(network)
    assert isinstance(reference, Frozen)  # switched off, it would be the base of the first run
    second = train(config)
    assert not torch.equal(logits(second), logits(first))
    other = replace(plain, adapter=adapters.choice("lora"))
    with pytest.raises(ConfigError, match="determines the network"):
        inherit_from_parent(other, [f"init_from={first}", "adapter=lora"])


@pytest.mark.slow
def test_a_mergeable_adapter_is_merged_for_a_run_that_starts_from_it(
    base: ExperimentConfig, tmp_path: Path
) -> None:
    first = train(adapter_run(base, "dora", tmp_path / "first"))
    second = replace(adapter_run(base, "lora", tmp_path / "second"), init_from=str(first))
    assert inherit_from_parent(second, [f"init_from={first}", "adapter=lora"]) == second
    network = tiny.training_parts(replace(second, adapter={})).objective.network.eval()
    assert not layers(network)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        ids = tiny.tokens(2, 6, vocab=network.vocab)
        torch.testing.assert_close(network(Inputs(ids)), logits(first), rtol=0, atol=0)
    assert logits(train(second)).shape == logits(first).shape


@pytest.mark.slow
def test_the_base_is_found_from_any_working_directory(
    base: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(str(base.run)).parent)
    run = train(adapter_run(replace(base, run="run"), "prefix", tmp_path / "run"))
    found = logits(run)
    monkeypatch.chdir(tmp_path)
    assert torch.equal(logits(run), found)


@pytest.mark.slow
def test_a_base_that_has_changed_is_an_error(base: ExperimentConfig, tmp_path: Path) -> None:
    first = train(replace(base, run=str(tmp_path / "first")))
    run = train(adapter_run(replace(base, run=str(first)), "lora", tmp_path / "run"))
    for file in (first / "model").iterdir():
        file.unlink()
    (first / "model").rmdir()
    with pytest.raises(CheckpointError, match="has changed since"):
        logits(run)
    (first / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="The base of"):
        logits(run)


def test_a_damaged_adapter_is_an_error(base: ExperimentConfig, tmp_path: Path) -> None:
    run = train(adapter_run(base, "lora", tmp_path / "run"))
    [file] = (run / "adapter").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        logits(run)


def test_an_adapter_without_a_base_is_an_error(base: ExperimentConfig) -> None:
    with pytest.raises(CompositionError, match=r"adapter=\[lora\] needs a trained network"):
        check(replace(base, adapter=adapters.choice("lora")))


def test_virtual_tokens_must_fit_into_max_positions(base: ExperimentConfig) -> None:
    position = tiny.part("architecture/position", "learned", max_positions=16)
    short = replace(base, architecture=tiny.stack(position=position), init_from="a")
    check(replace(short, adapter=adapters.choice("prefix")))
    with pytest.raises(CompositionError, match="plus 3 virtual tokens of the adapters"):
        check(replace(short, adapter=adapters.choice("prompt_tuning")))
    roomy = replace(base, init_from="a", data=replace(base.data, intra_document=True))
    with pytest.raises(CompositionError, match="before each document"):
        check(replace(roomy, adapter=adapters.choice("prompt_tuning")))


def test_a_pattern_that_matches_nothing_is_an_error_before_any_data_is_read(
    base: ExperimentConfig, tmp_path: Path
) -> None:
    lora = {"lora": tiny.part("adapter", "lora", targets=["*.query"])}
    config = replace(adapter_run(base, "lora", tmp_path / "run"), adapter=lora)
    with pytest.raises(ConfigError, match=r"adapter=lora: \*.query matches no name.*mixer.q, "):
        start(config, "tiny", [])
    assert not (tmp_path / "run").exists()


def test_a_tied_head_is_not_a_target() -> None:
    tied, untied = tiny.network(), tiny.network(tiny.stack(tie=False))
    lora = {"lora": tiny.part("adapter", "lora", targets=["head.*"])}
    adapt(untied, lora)
    with pytest.raises(ConfigError, match="matches no name"):
        adapt(tied, lora)


def test_a_mixture_of_experts_with_a_frozen_router_keeps_its_selection_bias() -> None:
    made = tiny.network(tiny.stack(mlp="moe")).train()
    adapt(made, adapters.choice("lora") | {})
    [moe, *_] = [m for m in made.modules() if type(m).__name__ == "Moe"]
    before = moe.selection_bias.clone()
    made(Inputs(tiny.tokens(2, 7))).sum().backward()
    assert moe.pop() is None
    moe.end_step(lambda loads: loads)
    assert torch.equal(moe.selection_bias, before)
