"""The order of the samples of a mixture: how much each holds, and how often each is read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.data.source import MixedSource, Samples, SourceSamples, indices_by_source
from etude.errors import DataError
from etude.objective.loader import EpochSource, StepLoader, chunks
from etude.objective.objective import Objective
from etude.objective.randomness import TRAIN, rng
from etude.training.plan import Plan

N_MEASURED = 1024
"""Maximum number of samples of a source whose tokens are counted; evenly spaced ones."""
BATCH = 16
"""Samples that are counted in one batch."""


def order_mixture(
    config: ExperimentConfig,
    objective: Objective[Any, Any],
    loader: StepLoader[Any],
    train: Samples,
    plan: Plan,
) -> None:
    """Sets the order in which a run reads the sources of a mixture; notes their planned shares.

    Raises ConfigError if they cannot fill the run, DataError if one has nothing to train on.
    """
    mixture = build(config.data)
    if not isinstance(mixture, MixedSource):
        return
    source = loader.source
    counts = isinstance(source, EpochSource)  # on-policy objectives count prompts
    sources = {
        name: SourceSamples(
            np.asarray(indices),
            _mean_count(name, objective, train, indices, config.seed) if counts else 1.0,
        )
        for name, indices in indices_by_source(train).items()
    }
    full_steps = plan.epoch.sizes.full_steps(plan.steps)
    n_samples = round(full_steps / source.steps_per_epoch * len(train))
    source.order = order = mixture.order(sources, n_samples, config.seed)
    planned = dict(zip(sources, order.n_read(n_samples), strict=True))
    counted = {name: n * sources[name].mean_count for name, n in planned.items()}
    for name, n in planned.items():
        epochs = n / len(sources[name].indices)
        share = counted[name] / sum(counted.values())
        objective.notes.append(
            f"mixture   {name}: {share:.1%} of what is trained on, {epochs:.2f} epochs"
        )


def _mean_count(
    name: str, objective: Objective[Any, Any], train: Samples, indices: Sequence[int], seed: int
) -> float:
    """Returns what the objective counts in a sample of a source, on average."""
    picked = np.linspace(0, len(indices) - 1, min(len(indices), N_MEASURED)).round().astype(int)
    examples = [
        objective.example(train[i], rng(seed, TRAIN, 0, i)) for i in (indices[k] for k in picked)
    ]
    total = sum(objective.count(objective.collate(part)) for part in chunks(examples, BATCH))
    if total == 0:
        raise DataError(
            f"data.sources.{name}: none of its samples has anything to train on.\n"
            "  Remove it, or check that the tokenizer covers its text."
        )
    return total / len(examples)
