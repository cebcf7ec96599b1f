"""Builds everything a run trains with from its config: network, objective, loader, validation."""

import math
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

from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    ComparisonConfig,
    TextDataConfig,
)
from etude.config.schema.trainer import MAX_STEPS
from etude.data.corpus import Corpus
from etude.data.source import Samples, Take
from etude.data.vocab import Vocab
from etude.errors import ConfigError
from etude.formats.checkpoint import TreeCheckpointIO
from etude.formats.model import read_model
from etude.formats.new_tokens import refuse_frozen_tokens
from etude.network.adapter import adapt
from etude.network.network import Network, set_dropout
from etude.objective.batches import n_tokens
from etude.objective.loader import Ranks, StepLoader, StepSource
from etude.objective.objective import Objective, ObjectiveContext, OptimizerOf
from etude.objective.randomness import seed_global
from etude.records import PROMPTED, Chat
from etude.rl.rewards import build_rewards
from etude.training.length import LENGTHS, Epoch
from etude.training.optim import optimizer_parameters, refuse_idle, refuse_unreached_peak
from etude.training.run_writer import Intervals
from etude.training.validation import Validation

TRIAL_VOCAB = 16
"""Vocabulary size of the network that is built as a check before a tokenizer exists."""
MICRO_BATCH_TOKENS = 8192
"""Maximum tokens of an automatic micro-batch: enough to keep any CPU busy."""
MAX_MEASURED = 8192
"""Maximum number of samples whose tokens are counted to plan a run of `trainer.max_tokens`."""
_PRECISION = {"32": "32-true", "64": "64-true", "16-mixed": "16-mixed"}


@dataclass(frozen=True)
class Plan:
    """Batch sizes and run lengths derived from a config and its data."""

    intervals: Intervals
    epoch: Epoch
    micro_batch: int
    n_val: int
    ranks: Ranks

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the whole run."""
        return self.intervals.total

    def until(self, step: int) -> "Plan":
        """Returns the same plan with `step` as its last step."""
        return replace(self, intervals=replace(self.intervals, total=step))


@dataclass(frozen=True)
class TrainingParts:
    """Everything `fit` needs."""

    objective: Objective[Any, Any]
    loader: StepLoader[Any]
    train: Samples
    plan: Plan
    validation: Validation


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
        train, val = map(objective.select_samples, (corpus.train, corpus.val))
        corpus = replace(corpus, train=train, val=val)
        objective.count_cuts(train)
        train = Take(corpus.train, config.trainer.train_samples or len(corpus.train))
        source = objective.source(train, config.trainer.global_batch, config.seed, ranks)
        epoch = _epoch(config, corpus, objective, train, source.steps_per_epoch)
    plan = plan_of(config, corpus, epoch, ranks)
    refuse_unreached_peak(config.schedule, config.optimizer.lr, plan.steps)
    refuse_idle(config.objective, plan.steps)
    _note_unused_template(config, objective)
    if config.trainer.compile:
        network.compile()
    loader = StepLoader(
        source,
        objective.collate,
        objective.count,
        plan.micro_batch,
        objective.needs_batch_statistic,
    )
    validation = Validation(corpus.val, plan.n_val, plan.micro_batch, config.seed, ranks)
    return TrainingParts(objective, loader, train, plan, validation)


def _tools(config: ExperimentConfig, corpus: Corpus, optimizer: OptimizerOf) -> ObjectiveContext:
    """Returns what the objective may use in addition to its config and network."""
    return ObjectiveContext(
        tokenizer=corpus.tokenizer,
        architecture=config.architecture,
        seq_len=config.data.seq_len,
        seed=config.seed,
        intra_document=isinstance(config.data, TextDataConfig) and config.data.intra_document,
        optimizer=optimizer,
        non_finite=config.trainer.non_finite,
        decoding=build(config.decoding),
        reward=build_rewards(config.reward),
        environment=None if config.environment is None else build(config.environment),
        teachers=[run for one in config.reward.values() if (run := one.teacher) is not None],
        held_out=corpus.val,
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


def plan_of(config: ExperimentConfig, corpus: Corpus, epoch: Epoch, ranks: Ranks) -> Plan:
    """Returns the plan, with a value for every null of `trainer`."""
    trainer = config.trainer
    steps = epoch.n_steps(trainer)
    if steps > MAX_STEPS:
        given = " ".join(f"trainer.{name}={vars(trainer)[name]}" for name in LENGTHS)
        raise ConfigError(f"{given}: {steps:,} steps; a run has at most {MAX_STEPS:,}.")
    tenth = max(1, math.ceil(steps / 10))
    per_rank = trainer.global_batch // ranks.size
    most = max(1, MICRO_BATCH_TOKENS // config.data.seq_len)
    largest = max(d for d in range(1, per_rank + 1) if per_rank % d == 0 and d <= most)
    return Plan(
        intervals=Intervals(
            total=steps,
            validate=trainer.val_every or tenth,
            save=trainer.save_every or tenth,
            keep=trainer.keep,
            log=trainer.log_every,
        ),
        epoch=epoch,
        micro_batch=trainer.micro_batch or largest,
        n_val=min(len(corpus.val), trainer.val_samples or len(corpus.val)),
        ranks=ranks,
    )


def _epoch(
    config: ExperimentConfig,
    corpus: Corpus,
    objective: Objective[Any, Any],
    train: Samples,
    steps: float,
) -> Epoch:
    """Returns the size of an epoch; its tokens are measured if `max_tokens` limits the run."""
    card = corpus.card.train
    max_tokens = config.trainer.max_tokens
    if card.tokens is None:
        return Epoch(steps, None)
    if max_tokens is None:
        return Epoch(steps, (card.tokens - card.cut_tokens) * len(train) / len(corpus.train))
    source = objective.source(train, config.trainer.global_batch, config.seed, Ranks())
    return Epoch(steps, steps * _shown_per_step(objective, source, max_tokens))


def _shown_per_step(objective: Objective[Any, Any], source: StepSource, max_tokens: int) -> float:
    """Returns the mean number of tokens of a step, as the step records count them.

    Its steps are those of a run of `max_tokens`, up to MAX_MEASURED samples. Rows differ in length,
    and an objective may add tokens, such as markers or a source.
    """
    shown = n_steps = n_samples = 0
    while shown < max_tokens and n_samples < MAX_MEASURED:
        examples = source.next_step_batch().examples
        shown += n_tokens(objective.collate(examples))
        n_samples += len(examples)
        n_steps += 1
    return shown / n_steps


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
        accumulate_grad_batches=settings.global_batch // plan.ranks.size // plan.micro_batch,
        gradient_clip_val=settings.clip,
        callbacks=[*(build(c) for c in config.callback.values()), *callbacks],
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
