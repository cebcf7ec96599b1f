"""Batch sizes and length of a run, derived from its config and its data."""

import math
from dataclasses import dataclass, replace
from typing import Any

from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import MAX_STEPS
from etude.data.corpus import Corpus
from etude.data.source import Samples
from etude.errors import ConfigError
from etude.objective.batches import n_tokens
from etude.objective.loader import Ranks, StepSource
from etude.objective.objective import Objective
from etude.objective.step_size import StepSizes
from etude.training.length import LENGTHS, Epoch
from etude.training.run_writer import Intervals

MICRO_BATCH_TOKENS = 8192
"""Maximum tokens of an automatic micro-batch: enough to keep any CPU busy."""
MAX_MEASURED = 8192
"""Maximum number of samples whose tokens are counted to plan a run of `trainer.max_tokens`."""


@dataclass(frozen=True)
class Plan:
    """Batch sizes and run lengths derived from a config and its data."""

    intervals: Intervals
    epoch: Epoch
    global_batch: int
    micro_batch: int
    n_val: int
    ranks: Ranks

    @property
    def n_micro_batches(self) -> int:
        """Number of micro-batches of a step on each rank."""
        return self.global_batch // self.ranks.size // self.micro_batch

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the whole run."""
        return self.intervals.total

    def until(self, step: int) -> "Plan":
        """Returns the same plan with `step` as its last step."""
        return replace(self, intervals=replace(self.intervals, total=step))


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
        global_batch=trainer.global_batch,
        micro_batch=trainer.micro_batch or largest,
        n_val=min(len(corpus.val), trainer.val_samples or len(corpus.val)),
        ranks=ranks,
    )


def epoch_of(
    config: ExperimentConfig,
    corpus: Corpus,
    objective: Objective[Any, Any],
    train: Samples,
    steps: float,
) -> Epoch:
    """Returns the size of an epoch; its tokens are measured if `max_tokens` limits the run."""
    card = corpus.card.train
    max_tokens = config.trainer.max_tokens
    sizes = StepSizes.of(config)
    if card.tokens is None:
        return Epoch(steps, None, sizes)
    if max_tokens is None:
        tokens = (card.tokens - card.cut_tokens) * len(train) / len(corpus.train)
        return Epoch(steps, tokens, sizes)
    source = objective.source(train, config.trainer.global_batch, config.seed, Ranks())
    return Epoch(steps, steps * _shown_per_step(objective, source, max_tokens), sizes)


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
