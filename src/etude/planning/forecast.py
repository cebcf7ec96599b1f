"""Predicts the cost of a run from its config and data: parameters, memory, FLOPs, tokens, steps."""

import os
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from etude.capability import Capability
from etude.config.plugin_files import options
from etude.config.registry import build, load, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import StrategyConfig
from etude.data.corpus import Corpus
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.network import adapter
from etude.network.network import Network
from etude.network.parts import Block
from etude.objective.step_size import StepSizes
from etude.planning.fake_step import StepCost, simulate_steps
from etude.planning.fake_tensors import assemble_fake, modules
from etude.training.assemble import TrainingParts, trainer_of

CPU_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Forecast:
    """Predicted cost of a run. Memory is in bytes per device unless stated otherwise."""

    parameters: int
    trainable: int
    parts: dict[str, int]
    """Number of parameters of the network, by module."""
    others: dict[str, int]
    """Number of parameters of the other networks, by name: reference, value, reward."""
    steps: int
    full_steps: float
    """Number of full steps with the samples of all steps; fewer than `steps` with a ramp."""
    micro_batch: int
    n_micro_batches: int
    devices: int
    step: StepCost
    notes: Sequence[str]
    """Notes on the samples of the run, such as the shares of the sources of a mixture."""
    sharded: int
    """Memory per device that sharding saves."""

    @property
    def per_device(self) -> int:
        """Peak memory of one device."""
        return self.step.peak - self.sharded

    @property
    def tokens(self) -> float:
        """Number of tokens of the whole run."""
        return self.step.tokens_per_step * self.devices * self.full_steps

    @property
    def flops(self) -> float:
        """FLOPs of all training steps of the run; excludes generation and validation."""
        return self.tokens * self.step.flops_per_token


def forecast(config: ExperimentConfig, corpus: Corpus) -> Forecast:
    """Plans a run. Raises ConfigError for a config that cannot be built."""
    config = replace(config, trainer=replace(config.trainer, compile=False))
    step_sizes = StepSizes.of(config)
    parts = assemble_fake(replace(config, ramp={}), corpus)  # memory is that of a full step
    steps = replace(parts.plan.epoch, sizes=step_sizes).n_steps(config.trainer)
    step_sizes.refuse_invalid([*config.ramp], steps, config.trainer.devices)
    parts.objective.trainer = trainer_of(_on_one_device(config), parts.plan, Path(), [])
    generates = Capability.GENERATE in plugin_of(config.architecture).declaration.provides
    try:
        step = simulate_steps(parts, config.data.seq_len, generates=generates)
    except DynamicOutputShapeException as error:
        raise ConfigError(
            "This network routes tokens by their values, as a mixture of experts does, "
            "but a plan knows only shapes.\n"
            "  To measure its cost, run `etude train` with trainer.max_steps=10."
        ) from error
    sizes = adapter.parameter_counts(parts.objective.network)
    n_samples = config.trainer.global_batch // config.trainer.devices
    return Forecast(
        parameters=sizes["parameters"],
        trainable=sizes["trainable"],
        parts=_parts(parts.objective.network),
        others=_others(config, parts),
        steps=steps,
        full_steps=step_sizes.full_steps(steps),
        micro_batch=parts.plan.micro_batch,
        n_micro_batches=n_samples // parts.plan.micro_batch,
        devices=config.trainer.devices,
        step=step,
        notes=parts.objective.notes,
        sharded=_sharding_savings(config, parts.objective.network, step),
    )


def _on_one_device(config: ExperimentConfig) -> ExperimentConfig:
    """Returns the config with the same precision on one device, without callbacks and loggers."""
    names = (f"strategy/{name}" for name in options("strategy"))
    single = next(load(name) for name in names if load(name).declaration.max_devices == 1)
    strategy: Any = single.config()
    assert isinstance(strategy, StrategyConfig)
    trainer = replace(config.trainer, devices=1, accelerator="cpu")
    return replace(config, strategy=strategy, trainer=trainer, logger={}, callback={})


def _parts(network: Network) -> dict[str, int]:
    """Returns the parameters of each module; shared ones count for the first."""
    found: Counter[str] = Counter()
    for name, parameter in network.named_parameters():
        found[name.partition(".")[0]] += parameter.numel()
    return dict(found)


def _others(config: ExperimentConfig, parts: TrainingParts) -> dict[str, int]:
    """Returns the parameters of the other networks, without shared ones, by network name."""
    seen = {id(p) for p in _weights(parts.objective.network)}
    found: dict[str, int] = {}
    for name, child in parts.objective.named_children():
        own = {id(p): p.numel() for p in _weights(child) if id(p) not in seen}
        seen |= own.keys()
        if own:
            found[name] = sum(own.values())
    for name, reward in config.reward.items():
        if reward.teacher is not None:
            model = read_model(reward.teacher)
            with torch.device("meta"):
                scorer: Network = build(model.architecture, model.tokenizer.vocab)
            found[f"reward {name}"] = adapter.parameter_counts(scorer)["parameters"]
    return found


def _weights(root: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules(root) for p in module.parameters(recurse=False)]


def _sharding_savings(config: ExperimentConfig, network: Network, held: StepCost) -> int:
    """Returns the memory that sharding saves per device, which keeps 1 of `devices` shares.

    The largest block is unsharded while it computes, with its gradient.
    """
    if not plugin_of(config.strategy).declaration.shards:
        return 0
    size = sum(p.nbytes for p in network.parameters())
    found = [module for module in modules(network) if isinstance(module, Block)]
    blocks = [sum(p.nbytes for p in block.parameters()) for block in found]
    rest = size - sum(blocks)
    state = size + held.gradients + held.optimizer
    return max(0, state - state // config.trainer.devices - 2 * max([rest, *blocks]))


def memory(accelerator: str) -> int:
    """Returns the memory of a device in bytes; for the CPU, that of the machine."""
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[1]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in map(Path, CPU_LIMITS):
        limit = place.read_text().strip() if place.exists() else "max"
        limits += [int(limit)] if limit.isdigit() else []
    return min(limits)


def process() -> int:
    """Returns the peak memory of this process in bytes: Python, torch and data."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_memory(plan: Forecast, accelerator: str) -> int:
    """Returns the bytes of `memory` that a run needs."""
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return plan.per_device
    return plan.devices * (plan.per_device + process())
