"""A plan agrees with the real run, exactly where possible, and trains nothing."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare
from etude.errors import ConfigError
from etude.network.network import ROWS
from etude.objective.batches import n_tokens
from etude.objective.loader import MicroBatch
from etude.planning import alternatives
from etude.planning.alternatives import refuse_too_large
from etude.planning.calibration import phase_times, seconds_of
from etude.planning.fake_step import N_BATCHES, counter, elements, state_bytes
from etude.planning.fake_tensors import assemble_fake
from etude.planning.forecast import Forecast, forecast
from etude.training.assemble import TrainingParts
from etude.training.run import quiet

OBJECTIVES = ("clm", "mlm", "seq2seq", "sft", "reward", "dpo", *tiny.ON_POLICY)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def planned(config: ExperimentConfig) -> Forecast:
    return forecast(config, prepare(config))


def single(name: str, folder: Path) -> ExperimentConfig:
    """A tiny run in fp32."""
    return tiny.experiment(name, folder, trainer={"precision": "32"})


def real_step(made: TrainingParts) -> tuple[MicroBatch[Any], int, dict[str, Any]]:
    """Runs a real step; returns its micro-batch, FLOPs, and the optimizer's state."""
    part = max(islice(made.loader, N_BATCHES), key=lambda one: elements(one.batch))
    optimizer, _ = made.objective.tools.optimizer(made.objective)
    with counter() as counted:
        made.objective.loss(part.batch).total.backward()
    optimizer.step()
    return part, counted.get_total_flops(), optimizer.state_dict()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_can_be_planned_with_its_exact_parameter_count(
    name: str, tmp_path: Path
) -> None:
    config = single(name, tmp_path)
    plan = planned(config)
    network = tiny.training_parts(config).objective.network
    assert plan.parameters == sum(p.numel() for p in network.parameters())
    assert plan.step.peak > plan.step.weights + plan.step.gradients
    assert (plan.step.rollout > 0) == (name in tiny.ON_POLICY)
    assert ("reference" in plan.others) == (name in ("dpo", *tiny.ON_POLICY))


@pytest.mark.parametrize("name", ["clm", "mlm", "seq2seq", "dpo"])
def test_weights_gradients_and_flops_equal_those_of_a_real_step(name: str, tmp_path: Path) -> None:
    config = single(name, tmp_path)
    plan, made = planned(config), tiny.training_parts(config)
    part, flops, _ = real_step(made)
    objective = made.objective
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    assert plan.step.gradients == sum(g.nbytes for g in gradients)
    if name in ("clm", "mlm"):  # rows of one length
        assert plan.step.flops_per_token == pytest.approx(flops / n_tokens(part.batch))
        held = [*objective.parameters(), *objective.buffers()]
        assert plan.step.weights == sum(t.nbytes for t in held)


def test_flops_of_a_decoder_are_6_per_weight_and_token_plus_attention(
    tmp_path: Path,
) -> None:
    config = single("clm", tmp_path)
    plan, made = planned(config), tiny.training_parts(config)
    network: Any = made.objective.network
    part, _, _ = real_step(made)
    assert part.batch is not None
    linear = [m for m in network.stack.modules() if isinstance(m, torch.nn.Linear)]
    matrices = sum(m.weight.numel() for m in linear)
    rows, seq = part.batch.targets.inputs.tokens.shape
    scored = -(-int(part.batch.targets.where.sum()) // ROWS) * ROWS
    head = 6 * network.embedding.weight.numel() * scored
    attention = 14 * rows * seq**2 * config.architecture.dim
    found = plan.step.flops_per_token * n_tokens(part.batch)
    assert found == pytest.approx(6 * matrices * rows * seq + head + attention)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "adafactor", "muon"])
def test_optimizer_memory_equals_the_real_state_after_a_step(name: str, tmp_path: Path) -> None:
    config = replace(single("clm", tmp_path), optimizer=tiny.part("optimizer", name, lr=1e-3))
    _, _, state = real_step(tiny.training_parts(config))
    assert planned(config).step.optimizer == state_bytes(state)


@pytest.mark.parametrize("name", ["lora", "bottleneck", "ia3", "prefix", "freeze"])
def test_trainable_parameters_of_an_adapter_are_exact(name: str, tmp_path: Path) -> None:
    config = replace(single("clm", tmp_path), adapter={name: tiny.part("adapter", name)})
    plan, network = planned(config), tiny.training_parts(config).objective.network
    learned = [p for p in network.parameters() if p.requires_grad]
    assert plan.parameters == sum(p.numel() for p in network.parameters())
    assert plan.trainable == sum(p.numel() for p in learned) < plan.parameters
    assert plan.step.gradients == 4 * plan.trainable


@pytest.mark.parametrize("length", [{}, {"max_epochs": 1.5}, {"max_tokens": 700}])
def test_the_number_of_steps_equals_that_of_training(
    length: dict[str, float], tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": None, **length})
    assert planned(config).steps == tiny.training_parts(config).plan.steps


def test_weights_are_fake_tensors_and_stay_tied(tmp_path: Path) -> None:
    config = single("clm", tmp_path)
    network = assemble_fake(config, prepare(config)).objective.network
    assert all(type(p).__name__ == "FakeTensor" for p in network.parameters())
    real = tiny.training_parts(config).objective.network
    assert [n for n, _ in network.named_parameters()] == [n for n, _ in real.named_parameters()]


def test_smaller_micro_batches_and_lower_precision_need_less_memory(tmp_path: Path) -> None:
    config = single("clm", tmp_path)
    whole = planned(config)
    halved = planned(replace(config, trainer=replace(config.trainer, micro_batch=4)))
    low = planned(replace(config, trainer=replace(config.trainer, precision="bf16-true")))
    assert halved.step.activations == pytest.approx(whole.step.activations / 2, rel=0.05)
    assert low.per_device < whole.per_device
    assert halved.step.weights == whole.step.weights


def test_a_run_that_exceeds_memory_is_refused_with_settings_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = single("clm", tmp_path)
    corpus, plan = prepare(config), planned(config)
    one = planned(replace(config, trainer=replace(config.trainer, micro_batch=1)))
    monkeypatch.setattr(alternatives, "peak_memory", lambda plan, _: plan.per_device)
    monkeypatch.setattr(alternatives, "memory", lambda _: one.per_device)
    with pytest.raises(
        ConfigError, match=r"Settings that fit:\n +trainer.micro_batch=1: "
    ) as refused:
        refuse_too_large(config, corpus, plan)
    assert "  trainer.precision=bf16-true:" not in str(refused.value)
    refuse_too_large(config, corpus, one)


def test_a_sharded_run_needs_less_memory_per_device(tmp_path: Path) -> None:
    config = single("clm", tmp_path)
    spread = replace(config.trainer, devices=4, micro_batch=2)
    whole = planned(replace(config, trainer=spread, strategy=tiny.part("strategy", "ddp")))
    shards = planned(replace(config, trainer=spread, strategy=tiny.part("strategy", "fsdp")))
    assert shards.per_device == whole.per_device - shards.sharded < whole.per_device
    assert shards.tokens == whole.tokens == pytest.approx(planned(config).tokens, rel=0.05)


def test_step_times_are_compared_within_the_rollout_cycle() -> None:
    took = [9, 1, 3, 1, 7, 9, 3, 1, 3.5, 1, 7, 1, 4]  # every other step starts with a rollout
    found = phase_times(np.cumsum(took).tolist(), 8, {"process": 7, "before": 3}, cycle=2)
    assert (found.step_s, found.save_s, found.sample_s) == (2.0, 0.5, 0.5)


def test_step_checkpoint_and_validation_times_are_derived_from_end_times(tmp_path: Path) -> None:
    took = [9.0, 1.0, 1.0, 3.0, 9.0, 1.0, 1.5, 1.0, 5.0, 1.7]  # first step and save are slow
    found = phase_times(np.cumsum(took).tolist(), 8, {"process": 7, "before": 3})
    assert (found.step_s, found.save_s, found.sample_s, found.training) == (1.0, 0.5, 0.5, 4)
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 20, "val_every": 10})
    seconds = seconds_of(config, planned(config), 6, found)
    assert seconds == 20 * 1.0 + 2 * 6 * 0.5 + 10 * 0.5
