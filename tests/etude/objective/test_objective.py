"""The optimizer step is exact for any micro-batch size, clipping and non-finite gradient."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch

from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import NonFinite
from etude.errors import NonFiniteError
from etude.formats.checkpoint import path_of
from etude.formats.state_tree import read_tree
from etude.objective.loss import Loss
from etude.training.assemble import TrainingParts
from etude.training.run import start

OBJECTIVES = [
    "clm", "mtp", "mlm", "mdlm", "seq2seq", "fim", "prefix_lm", "ul2", "electra", "sop", "distill",
    "sft", *tiny.RUN_PREFERENCES, "reward", "embed", "classify", "tag", "grpo", "rloo", "reinforce",
    "online_dpo", "ppo",
]  # fmt: skip
CUTS = [8, 4, 2, 1]
SGD = {"lr": 0.1, "momentum": 0.0}


def config_of(name: str, folder: Path, **trainer: Any) -> ExperimentConfig:
    more: dict[str, Any] = {}
    if name in tiny.ON_POLICY:
        more = {} if name == "reinforce" else {"batches_per_rollout": 2, "epochs": 3}
        more["reward"] = {"exact_answer": tiny.part("reward", "exact_answer")}
    return tiny.experiment(name, folder, trainer=trainer, **more)


def stored_rollout(name: str, config: ExperimentConfig) -> dict[str, Any]:
    """Returns a rollout with perturbed old log-probabilities, so that ratios differ from 1."""
    source = tiny.training_parts(config, tiny.remainder).loader.source
    draw = torch.Generator().manual_seed(0)
    n_samples = 8 * config.objective.batches_per_rollout  # type: ignore[attr-defined]
    samples = [sample(name, i, draw) for i in range(n_samples)]
    return source.state_dict() | {"rollouts": 1, "used": 0, "samples": samples}


def sample(name: str, i: int, draw: torch.Generator) -> dict[str, Any]:
    """Returns a sample of a rollout; the one with index 3 has no reward and is not trained on."""
    prompt = [2, *range(200, 200 + i % 5)]
    completion = torch.randint(109, 365, (1 + i % 4,), generator=draw).tolist()
    if name == "online_dpo":
        pair, rewards = [completion, [300, 301, *completion]], [0.5, math.nan if i == 3 else 0.2]
        return {"prompt": prompt, "completions": pair, "rewards": rewards, "truncated": i % 2}
    old = -5.9 + 0.1 * torch.randn(len(completion), generator=draw, dtype=torch.float64)
    found = {"prompt": prompt, "completion": completion, "log_prob": old.numpy(), "kl": 0.1 * i}
    found |= {"reward": i / 16, "is_finished": i % 3 > 0, "has_zero_variance": False}
    found |= {"advantage": math.nan if i == 3 else (-1.0) ** i}
    if name == "ppo":
        estimates = torch.randn(len(completion), 3, generator=draw, dtype=torch.float64)
        found |= {"estimates": estimates.numpy(), "beta": 0.1}
    return found


def build_parts(name: str, config: ExperimentConfig) -> TrainingParts:
    made = tiny.training_parts(config, tiny.remainder if name in tiny.ON_POLICY else None)
    if name in tiny.ON_POLICY:
        made.loader.source.load_state_dict([stored_rollout(name, config)])
    return made


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_micro_batch_size_does_not_change_the_loss_curve(name: str, tmp_path: Path) -> None:
    curves: list[list[dict[str, Any]]] = []
    weights: list[torch.Tensor] = []
    for cut in CUTS:
        config = config_of(name, tmp_path, micro_batch=cut, clip=0.5)
        made = build_parts(name, config)
        curves.append(tiny.fit(config, made, tmp_path / str(cut)))
        weights.append(torch.cat([p.detach().flatten() for p in made.objective.parameters()]))
    assert len(curves[0]) == 5
    for curve, held in zip(curves[1:], weights[1:], strict=True):
        for line, wanted in zip(curve, curves[0], strict=True):
            assert line.pop("samples") == wanted["samples"]
            numbers = {name: wanted[name] for name in line}
            assert line == pytest.approx(numbers, rel=1e-12, abs=1e-12)
        torch.testing.assert_close(held, weights[0], rtol=0.0, atol=1e-12)
    assert curves[0][0]["grad_norm"] > 0


def test_one_step_is_the_gradient_of_the_mean_over_the_global_batch(tmp_path: Path) -> None:
    config = config_of("clm", tmp_path, micro_batch=2, max_steps=1, clip=None)
    config = replace(
        config, optimizer=tiny.part("optimizer", "sgd", **SGD), schedule=constant(), seed=3
    )
    made, fresh = tiny.training_parts(config), tiny.training_parts(config)
    objective = fresh.objective.double()
    step = fresh.loader.source.next_step_batch()
    batch = objective.collate(step.examples)
    (objective.loss(batch).total / objective.count(batch)).backward()
    (line,) = tiny.fit(config, made, tmp_path / "run")
    norm = torch.nn.utils.get_total_norm([p.grad for p in objective.parameters()])  # type: ignore[misc]
    assert line["grad_norm"] == pytest.approx(float(norm), rel=1e-12)
    assert line["loss"] == pytest.approx(
        float(objective.loss(batch).total.detach()) / objective.count(batch), rel=1e-12
    )
    assert line["samples"] == step.digest
    for after, before in zip(made.objective.parameters(), objective.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after, before - 0.1 * before.grad, rtol=0.0, atol=1e-12)


def constant() -> Any:  # the plugin's own class
    return tiny.part("schedule", "constant", warmup_steps=0)


@pytest.mark.parametrize("clip", [1e-3, 1e6, None])
def test_a_gradient_is_clipped_and_its_norm_before_clipping_is_reported(
    clip: float | None, tmp_path: Path
) -> None:
    config = config_of("clm", tmp_path, clip=clip, max_steps=1)
    config = replace(config, optimizer=tiny.part("optimizer", "sgd", **SGD), schedule=constant())
    made = tiny.training_parts(config)
    before = [p.detach().double().clone() for p in made.objective.parameters()]
    (line,) = tiny.fit(config, made, tmp_path / "run")
    moved = [a.detach() - b for a, b in zip(made.objective.parameters(), before, strict=True)]
    moved_by = float(torch.nn.utils.get_total_norm(moved))
    wanted = line["grad_norm"] if clip is None else min(clip, line["grad_norm"])
    assert moved_by == pytest.approx(0.1 * wanted, rel=1e-4)


class Poison(pl.Callback):
    """Makes the gradient of one step NaN with a hook in the network."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.before: list[torch.Tensor] = []
        self.moments: list[torch.Tensor] = []
        self.moments_after: list[torch.Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step - 1:
            self.before = [p.detach().clone() for p in pl_module.parameters()]
            self.moments = moments(trainer)
            pl_module.network.embedding.weight.register_hook(nan_once())  # type: ignore[union-attr]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step == self.step:
            self.moments_after = moments(trainer)
            assert_equal(self.before, [p.detach() for p in pl_module.parameters()])


def moments(trainer: pl.Trainer) -> list[torch.Tensor]:
    states = trainer.optimizers[0].state.values()
    return [value.clone() for state in states for value in state.values()]


def nan_once() -> Any:  # a hook of torch's
    done: list[bool] = []

    def hook(grad: torch.Tensor) -> torch.Tensor:
        first = not done
        done.append(True)
        return grad * math.nan if first else grad

    return hook


def assert_equal(before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    assert before
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)


def test_a_non_finite_gradient_stops_the_run_before_the_weights_change(
    tmp_path: Path,
) -> None:
    config = config_of("clm", tmp_path)
    made, poison = tiny.training_parts(config), Poison(3)
    with pytest.raises(NonFiniteError, match=r"step 3 .*gradient norm is nan.*(?s:.)*Digest"):
        tiny.fit(config, made, tmp_path / "run", [poison])
    assert_equal(poison.before, [p.detach() for p in made.objective.parameters()])
    assert [line["step"] for line in tiny.untimed_steps(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_a_skipped_gradient_changes_neither_weights_nor_moments_and_is_counted(
    micro_batch: int, tmp_path: Path
) -> None:
    config = config_of("clm", tmp_path, non_finite=NonFinite.skip, micro_batch=micro_batch)
    made, poison = tiny.training_parts(config), Poison(3)
    lines = tiny.fit(config, made, tmp_path / "run", [poison])
    assert_equal(poison.moments, poison.moments_after)
    assert [line["skipped"] for line in lines] == [0, 0, 1, 1, 1]
    assert math.isnan(lines[2]["grad_norm"])
    assert all(math.isfinite(line["loss"]) for line in lines)
    resumed = tiny.training_parts(config).objective
    resumed.on_load_checkpoint(read_tree(path_of(tmp_path / "run" / "checkpoints", 5)))
    assert resumed.skipped == {"loss or gradient not finite": 1}


class Emptied(pl.Callback):
    """Leaves one step nothing to train on; keeps the weights and moments from before and after."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.kept: list[list[torch.Tensor]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step - 1:
            batch.step_count = 0.0
            batch.batch.targets.where[:] = False
            if batch.index == 0:
                self.keep(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step == self.step and batch.is_last:
            self.keep(trainer, pl_module)

    def keep(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = [tensor.detach().clone() for tensor in pl_module.state_dict().values()]
        self.kept.append([*weights, *moments(trainer)])


@pytest.mark.parametrize("micro_batch", [8, 2])
@pytest.mark.parametrize("name", ["clm", "mlm", "mdlm", "seq2seq", "fim", "prefix_lm"])
def test_a_step_over_nothing_changes_nothing_and_its_loss_is_nan(
    name: str, micro_batch: int, tmp_path: Path
) -> None:
    config = config_of(name, tmp_path, micro_batch=micro_batch)
    config = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=0.1, weight_decay=0.5))
    made, emptied = tiny.training_parts(config), Emptied(3)
    lines = tiny.fit(config, made, tmp_path / "run", [emptied])
    assert_equal(*emptied.kept)
    assert [line["skipped"] for line in lines] == [0, 0, 1, 1, 1]
    assert [math.isnan(line["loss"]) for line in lines] == [False, False, True, False, False]
    known = {"step", "lr", "tokens", "skipped", "samples"}
    known |= {key for key in lines[2] if key.startswith("val/")}
    assert all(math.isnan(value) for key, value in lines[2].items() if key not in known)
    assert made.objective.skipped == {"nothing to train on": 1}


def test_the_bias_of_a_router_does_not_move_in_a_step_over_nothing(tmp_path: Path) -> None:
    moe = tiny.part("architecture/mlp", "moe", n_experts=4, bias_rate=0.5)
    config = tiny.experiment("clm", tmp_path, architecture=tiny.stack(mlp=moe))
    made, emptied = tiny.training_parts(config), Emptied(2)
    tiny.fit(config, made, tmp_path / "run", [emptied])
    assert_equal(*emptied.kept)


@pytest.mark.parametrize("name", ["mlm", "electra", "sop", "prefix_lm"])
def test_texts_without_a_known_word_are_steps_over_nothing_in_the_summary(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vocabulary of 300 has no room for all of these characters, so many texts are unknown."""
    file = tmp_path / "characters.txt"
    file.write_text("".join(f"a b {chr(0x4E00 + i)}\n{chr(0x5E00 + i)}\n" for i in range(150)))
    config = tiny.experiment(name, tmp_path, trainer={"global_batch": 1, "max_steps": 12})
    data = replace(config.data, path=str(file), pack=False)  # type: ignore[call-arg]
    tokenizer = tiny.part("tokenizer", "wordpiece", vocab_size=300)
    start(replace(config, data=data, tokenizer=tokenizer, run=str(tmp_path / "run")), "tiny", [])
    lines = tiny.untimed_steps(tmp_path / "run")
    n_empty = sum(math.isnan(line["loss"]) for line in lines)
    assert 0 < n_empty < 12
    assert lines[-1]["skipped"] == n_empty
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["skipped"] == {"nothing to train on": n_empty}
    assert f"{n_empty} of 12 steps: nothing to train on" in capsys.readouterr().out


def test_batch_sums_add_up_the_micro_batches_of_a_global_batch(tmp_path: Path) -> None:
    """The sums of a global batch add up its micro-batches, metrics included."""
    config = config_of("mlm", tmp_path, micro_batch=2, max_steps=1)
    made = tiny.training_parts(config)
    tiny.fit(config, made, tmp_path / "run")
    sums = made.objective.batch_sums
    fresh = tiny.training_parts(config)
    batch = fresh.objective.collate(fresh.loader.source.next_step_batch().examples)
    assert sums.count == fresh.objective.count(batch)
    assert sums.tokens == batch.targets.inputs.n_tokens
    assert isinstance(fresh.objective.loss(batch), Loss)
