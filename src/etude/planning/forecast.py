"""What a run will take, from its config and its data: parameters, memory, FLOPs, tokens, steps."""

import os
import resource
import sys
from collections import Counter
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
from etude.planning.fake_step import Rehearsal, rehearse
from etude.planning.fake_tensors import modules, shaped
from etude.training.assemble import Assembled, trainer_of

CPU_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Forecast:
    """What a run will take. Memory is in bytes, of one device unless it says otherwise."""

    parameters: int
    trainable: int
    parts: dict[str, int]
    """Parameters of the network by module."""
    others: dict[str, int]
    """Parameters of the other networks, by name: reference, value, reward."""
    steps: int
    micro_batch: int
    n_micro_batches: int
    devices: int
    rehearsal: Rehearsal
    sharded: int
    """What sharding takes off a device."""

    @property
    def a_device(self) -> int:
        """The most that one device holds at once."""
        return self.rehearsal.peak - self.sharded

    @property
    def tokens(self) -> float:
        """Tokens of the whole run."""
        return self.rehearsal.tokens_a_step * self.devices * self.steps

    @property
    def flops(self) -> float:
        """Of all losses and gradients of the run; writing and validating are not in it."""
        return self.tokens * self.rehearsal.flops_a_token


def forecast(config: ExperimentConfig, corpus: Corpus) -> Forecast:
    """Plans a run. Raises ConfigError for what cannot be built."""
    config = replace(config, trainer=replace(config.trainer, compile=False))
    made = shaped(config, corpus)
    made.objective.trainer = trainer_of(_alone(config), made.plan, Path(), [])
    writes = Capability.GENERATE in plugin_of(config.architecture).declaration.provides
    try:
        found = rehearse(made, config.data.seq_len, writes=writes)
    except DynamicOutputShapeException as error:
        raise ConfigError(
            "This network sends tokens to layers by their values, as a mixture of experts does, "
            "and a plan knows shapes alone.\n"
            "  `etude train` with trainer.max_steps=10 says what it takes."
        ) from error
    sizes = adapter.parameters(made.objective.network)
    per_device = config.trainer.global_batch // config.trainer.devices
    return Forecast(
        parameters=sizes["parameters"],
        trainable=sizes["trainable"],
        parts=_parts(made.objective.network),
        others=_others(config, made),
        steps=made.plan.steps,
        micro_batch=made.plan.micro_batch,
        n_micro_batches=per_device // made.plan.micro_batch,
        devices=config.trainer.devices,
        rehearsal=found,
        sharded=_sharded(config, made.objective.network, found),
    )


def _alone(config: ExperimentConfig) -> ExperimentConfig:
    """The same precision on one device, with nothing that watches."""
    names = (f"strategy/{name}" for name in options("strategy"))
    single = next(load(name) for name in names if load(name).declaration.max_devices == 1)
    strategy: Any = single.config()
    assert isinstance(strategy, StrategyConfig)
    trainer = replace(config.trainer, devices=1, accelerator="cpu")
    return replace(config, strategy=strategy, trainer=trainer, logger={}, callback={})


def _parts(network: Network) -> dict[str, int]:
    """Parameters by the network's own modules; those that two share are the first one's."""
    found: Counter[str] = Counter()
    for name, parameter in network.named_parameters():
        found[name.partition(".")[0]] += parameter.numel()
    return dict(found)


def _others(config: ExperimentConfig, made: Assembled) -> dict[str, int]:
    """Parameters that no other network of the run holds, by what the objective calls it."""
    seen = {id(p) for p in _weights(made.objective.network)}
    found: dict[str, int] = {}
    for name, child in made.objective.named_children():
        own = {id(p): p.numel() for p in _weights(child) if id(p) not in seen}
        seen |= own.keys()
        if own:
            found[name] = sum(own.values())
    for name, reward in config.reward.items():
        if reward.teacher is not None:
            model = read_model(reward.teacher)
            with torch.device("meta"):
                scorer: Network = build(model.architecture, model.tokenizer.vocab)
            found[f"reward {name}"] = adapter.parameters(scorer)["parameters"]
    return found


def _weights(root: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules(root) for p in module.parameters(recurse=False)]


def _sharded(config: ExperimentConfig, network: Network, held: Rehearsal) -> int:
    """What a device does not hold under a strategy that shards: its share is one of `devices`.

    The largest block is whole while it computes, and its gradient with it.
    """
    if not plugin_of(config.strategy).declaration.shards:
        return 0
    own = sum(p.nbytes for p in network.parameters())
    found = [module for module in modules(network) if isinstance(module, Block)]
    blocks = [sum(p.nbytes for p in block.parameters()) for block in found]
    rest = own - sum(blocks)
    state = own + held.gradients + held.optimizer
    return max(0, state - state // config.trainer.devices - 2 * max([rest, *blocks]))


def memory(accelerator: str) -> int:
    """Bytes that a device of this machine has; on a CPU, those that all processes share."""
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[1]
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in map(Path, CPU_LIMITS):
        said = place.read_text().strip() if place.exists() else "max"
        limits += [int(said)] if said.isdigit() else []
    return min(limits)


def process() -> int:
    """Bytes that this process has held at most: Python, torch and the data, without a network."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def needed(plan: Forecast, accelerator: str) -> int:
    """Bytes of `memory` that a run takes."""
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return plan.a_device
    return plan.devices * (plan.a_device + process())
