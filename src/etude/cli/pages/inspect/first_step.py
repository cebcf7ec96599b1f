"""Builds the first step of a run, and reads from it what a person should see."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from etude.cli.pages.inspect.messages import Labelled, labelled, row_labels
from etude.cli.pages.inspect.panels import panel_counts
from etude.cli.pages.inspect.view import Sample, Step, rows_of
from etude.config.schema.experiment import ExperimentConfig
from etude.objective.loader import EpochSource, StepBatch
from etude.objective.selection import lost_lines
from etude.rl.on_policy import OnPolicyObjective
from etude.rl.rollout import RolloutSource
from etude.training.assemble import TrainingParts, trainer_of


def first_step(config: ExperimentConfig, parts: TrainingParts, n: int) -> Step:
    """Returns the first step of rank 0, with the first `n` samples; samples rollouts for it."""
    objective = parts.objective
    if isinstance(objective, OnPolicyObjective):
        bare = replace(config, logger={}, callback={})
        objective.trainer = trainer_of(bare, parts.plan, Path(), [])
    step = parts.loader.source.next_step_batch()
    batches = parts.loader.batches(step)
    samples: list[Sample] = []
    empty: list[str] = []
    for i, example in enumerate(step.examples):
        batch = objective.collate([example])
        count = objective.count(batch)
        name = _name(step, i, parts)
        empty += [name] if count == 0 else []
        if i < n:
            known = labelled(_records(step, i, parts), objective.tools.tokenizer)
            own = iter(objective.token_labels(example))
            labels_of = partial(_labels, own, known)
            numbers = _numbers(objective, batch)
            shown = rows_of(batch, objective.tools.tokenizer, numbers, labels_of)
            samples.append(Sample(name, count, *shown, _cuts(step, i, parts)))
    return Step(
        len(step.examples),
        len(batches),
        sum(map(objective.count, batches)),
        objective.unit,
        panel_counts(batches),
        samples,
        empty,
        lost_lines(objective.lost),
    )


def _numbers(objective: Any, batch: Any) -> Mapping[str, Tensor]:  # any objective and its batch
    return objective.token_values(batch) if isinstance(objective, OnPolicyObjective) else {}


def _labels(own: Iterator[str], known: Sequence[Labelled], row: Sequence[int]) -> Sequence[str]:
    """The next labels of the objective, or else the messages that the tokens are a part of."""
    return [*islice(own, len(row))] or row_labels(row, known)


def _records(step: StepBatch, i: int, parts: TrainingParts) -> list[Any]:
    """Returns the record of an example, or those of the rollout that contains it."""
    source = parts.loader.source
    record = _record(step, i, parts)
    if isinstance(source, EpochSource) and record is not None:
        return [source.samples[record]]
    if not isinstance(source, RolloutSource):
        return []
    prompts = [source.prompts[source.order(place)[1]] for place in range(source.n_drawn)]
    environment = parts.objective.tools.environment
    return [environment.prompt(one) for one in prompts] if environment else prompts


def _record(step: StepBatch, i: int, parts: TrainingParts) -> int | None:
    """Returns the index of an example's sample; None if it is sampled, or a part of a sample."""
    is_fixed = isinstance(parts.loader.source, EpochSource)
    return step.ids[i] if is_fixed and len(step.ids) == len(step.examples) else None


def _name(step: StepBatch, i: int, parts: TrainingParts) -> str:
    record = _record(step, i, parts)
    place = "" if record is None else f" (training sample {record})"
    return f"sample {i + 1} of {len(step.examples)}{place}"


def _cuts(step: StepBatch, i: int, parts: TrainingParts) -> list[str]:
    record = _record(step, i, parts)
    source = parts.loader.source
    reasons: Iterable[str] = ()
    if record is not None and isinstance(source, EpochSource):
        reasons = parts.objective.cuts(source.samples[record])
    return list(reasons)
