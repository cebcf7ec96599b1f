"""Builds everything a run trains with from its config: network, objective, loader, validation."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.optim import Optimizer

from etude.config.record_kind import text_config
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    ComparisonConfig,
)
from etude.data.corpus import Corpus
from etude.data.data_card import PlannedSource
from etude.data.source import Samples, Take, each_part, indices_by_source, parts_of
from etude.data.vocab import Vocab
from etude.errors import ConfigError
from etude.formats.checkpoint import TreeCheckpointIO
from etude.formats.model import read_model
from etude.formats.new_tokens import refuse_frozen_tokens
from etude.network.adapter import adapt
from etude.network.autoregressive import Autoregressive
from etude.network.network import Network, set_dropout
from etude.objective.context import ObjectiveContext, OptimizerOf
from etude.objective.loader import EpochSource, Ranks, StepLoader, StepSource
from etude.objective.objective import Objective
from etude.objective.randomness import seed_global
from etude.records import PROMPTED, Chat
from etude.rl.rewards import build_rewards
from etude.training.eval_weights import FinalWeights
from etude.training.mixing import order_mixture
from etude.training.optim import optimizer_parameters, refuse_idle, refuse_unreached_peak
from etude.training.plan import Plan, epoch_of, plan_of
from etude.training.validation import Validation

TRIAL_VOCAB = 16
"""Vocabulary size of the network that is built as a check before a tokenizer exists."""
_PRECISION = {"32": "32-true", "64": "64-true", "16-mixed": "16-mixed"}


@dataclass(frozen=True)
class TrainingParts:
    """Everything `fit` needs."""

    objective: Objective[Any, Any]
    loader: StepLoader[Any]
    train: Samples
    plan: Plan
    validation: Validation
    planned: Mapping[str, PlannedSource]
    """What the run reads of each source of a mixture; empty for other data."""


def assemble(config: ExperimentConfig, corpus: Corpus, ranks: Ranks) -> TrainingParts:
    """Builds network, objective and loader. Raises ConfigError for a config it cannot build."""
    seed_global(config.seed)
    exact = config.trainer.precision == "64"  # Lightning converts only after reading a checkpoint
    network = _network(config, corpus.tokenizer.vocab, exact)
    refuse_frozen_tokens(config, corpus.tokenizer, network)

    def optimizer(module: nn.Module) -> tuple[Optimizer, Any]:
        built = build(config.optimizer, optimizer_parameters(module))
        return built, build(config.schedule, plan.steps)

    tools = _tools(config, corpus, optimizer)
    objective: Objective[Any, Any] = _build("objective", config.objective, network, tools)
    _set_dropout(config, objective)
    _refuse_sharding(config, objective)
    if exact:
        objective.double()
    _build("optimizer", config.optimizer, optimizer_parameters(objective))  # fails early
    with torch.device("cpu"):  # samples are real even if weights are on the meta device
        sides = (corpus.train, corpus.val)
        train, val = (each_part(side, objective.select_samples) for side in sides)
        corpus = replace(corpus, train=train, val=val)
        for part in parts_of(train):
            objective.count_cuts(part)
        train = Take(corpus.train, config.trainer.train_samples or len(corpus.train))
        source = objective.source(train, config.trainer.global_batch, config.seed, ranks)
        epoch = epoch_of(config, corpus, objective, train, source.steps_per_epoch)
    plan = plan_of(config, corpus, epoch, ranks)
    refuse_unreached_peak(config.schedule, config.optimizer.lr, plan.steps)
    refuse_idle(config.objective, plan.steps)
    _note_unused_template(config, objective)
    if config.trainer.compile:
        network.compile()
    loader = _loader(config, source, objective, plan)
    with torch.device("cpu"):
        planned = order_mixture(config, objective, loader, train, plan)
    held_out = indices_by_source(Take(corpus.val, plan.n_val))
    numbers = plan.n_val, plan.micro_batch, config.seed
    validation = Validation(corpus.val, *numbers, ranks, held_out)
    return TrainingParts(objective, loader, train, plan, validation, planned)


def _tools(config: ExperimentConfig, corpus: Corpus, optimizer: OptimizerOf) -> ObjectiveContext:
    """Returns what the objective may use in addition to its config and network."""
    return ObjectiveContext(
        tokenizer=corpus.tokenizer,
        architecture=config.architecture,
        seq_len=config.data.seq_len,
        seed=config.seed,
        intra_document=(text := text_config(config.data)) is not None and text.intra_document,
        optimizer=optimizer,
        non_finite=config.trainer.non_finite,
        decoding=build(config.decoding, corpus.tokenizer),
        generator=(
            build(config.generator, corpus.tokenizer) if config.generator else Autoregressive()
        ),
        reward=build_rewards(config.reward),
        environment=None if config.environment is None else build(config.environment),
        teachers=[run for one in config.reward.values() if (run := one.teacher) is not None],
        held_out=corpus.val,
        train=corpus.train,
    )


def _network(config: ExperimentConfig, vocab: Vocab, exact: bool) -> Network:
    """Returns the network to train, with its initial weights and adapters."""
    network: Network = _build("architecture", config.architecture, vocab)
    if exact:
        network.double()
    if config.init_from is not None:
        read_model(config.init_from).load_weights(network)
    adapt(network, config.adapter)
    return network


def _set_dropout(config: ExperimentConfig, objective: Objective[Any, Any]) -> None:
    """Sets the dropout of an objective that compares networks; notes what it replaces."""
    if isinstance(config.objective, ComparisonConfig):
        rate = config.objective.dropout
        for other in set_dropout(objective, rate):
            objective.notes.append(f"objective.dropout={rate:g} replaces a dropout of {other:g}")


def _loader(
    config: ExperimentConfig, source: StepSource, objective: Objective[Any, Any], plan: Plan
) -> StepLoader[Any]:
    """Returns the loader of global batches, whose sizes the ramps change.

    Raises ConfigError if the source has no ramps, or for an invalid size.
    """
    if config.ramp:
        if not isinstance(source, EpochSource):
            raise ConfigError(
                f"ramp=[{','.join(config.ramp)}] has no effect: "
                f"{plugin_of(config.objective).address} does not train on a fixed list of samples."
                "\n  Remove it."
            )
        source.sizes = plan.epoch.sizes
        source.sizes.refuse_invalid([*config.ramp], plan.steps, plan.ranks.size)
    return StepLoader(
        source,
        objective.collate,
        objective.count,
        plan.micro_batch,
        objective.needs_batch_statistic,
        plan.n_micro_batches,
    )


def _note_unused_template(config: ExperimentConfig, objective: Objective[Any, Any]) -> None:
    """Notes a chat template that training does not use; it is still part of the tokenizer."""
    declaration = plugin_of(config.objective).declaration
    if config.template is not None and not declaration.reads & {Chat, *PROMPTED}:
        objective.notes.append(
            f"{plugin_of(config.template).address} is only saved with the tokenizer: "
            f"{plugin_of(config.objective).address} renders no conversation"
        )


def _refuse_sharding(config: ExperimentConfig, objective: Objective[Any, Any]) -> None:
    """Raises ConfigError if the objective has its own weights, which sharding would replicate."""
    sharded = {id(parameter) for parameter in objective.network.parameters()}
    outside = [name for name, p in objective.named_parameters() if id(p) not in sharded]
    if outside and plugin_of(config.strategy).declaration.shards:
        raise ConfigError(
            f"{plugin_of(config.objective).address} cannot be trained with "
            f"{plugin_of(config.strategy).address}: it has weights outside the network, such as "
            f"{outside[0]}, which would not be sharded.\n"
            "  Use a strategy that replicates the weights, such as strategy=ddp."
        )


def refuse_unbuildable(
    architecture: ArchitectureConfig, adapter: Mapping[str, AdapterConfig]
) -> None:
    """Raises ConfigError for parts that do not fit, or weights larger than the memory."""
    vocab = Vocab(TRIAL_VOCAB, 0, 1, 2, 3, 4, 5, 6, 7, 8, tuple(range(9, TRIAL_VOCAB)))
    try:
        with torch.device("meta"):
            network: Network = _build("architecture", architecture, vocab)
            adapt(network, adapter)
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, TypeError) and "Overflow" not in reason:  # not torch's for a size
            raise
        raise ConfigError(f"The network cannot be built with these sizes: {reason}") from error
    size = sum(p.nbytes for p in network.parameters())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        has = f"this machine has {memory / 1e9:,.0f} GB of memory"
        raise ConfigError(f"The network's weights take {size / 1e9:,.0f} GB, and {has}.")


def trainer_of(
    config: ExperimentConfig, plan: Plan, folder: Path, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Returns Lightning's Trainer, with its output, checkpoints and validation disabled."""
    settings = config.trainer
    is_single = plugin_of(config.strategy).declaration.max_devices == 1
    rank_timeout = [] if is_single else [timedelta(seconds=settings.rank_timeout_s)]
    return pl.Trainer(
        default_root_dir=folder,
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=build(config.strategy, *rank_timeout),
        precision=_PRECISION.get(settings.precision, settings.precision),  # type: ignore[arg-type]
        max_steps=plan.steps,
        accumulate_grad_batches=plan.n_micro_batches,
        gradient_clip_val=settings.clip,
        callbacks=[FinalWeights(), *(build(c) for c in config.callback.values()), *callbacks],
        logger=[build(c, folder) for c in config.logger.values()] or False,
        plugins=[TreeCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )


def _build(group: str, config: Any, *arguments: Any) -> Any:
    """Builds a plugin. Raises ConfigError for a ValueError, such as incompatible sizes."""
    try:
        return build(config, *arguments)
    except ValueError as error:
        raise ConfigError(f"{group}: {error}.") from error
