"""Validation on held-out samples: exact sums over all ranks, no effect on the training state."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from etude.config.schema.experiment import ExperimentConfig
from etude.data.source import Samples
from etude.errors import ConfigError, did_you_mean
from etude.objective.head_objective import HeadObjective
from etude.objective.loader import chunks
from etude.objective.loss import BatchSums, Loss
from etude.objective.objective import Objective
from etude.objective.randomness import VALIDATION, isolated_randomness, rng
from etude.objective.ranks import Ranks


@dataclass(frozen=True)
class Validation:
    """Validation samples and how they are batched over ranks."""

    samples: Samples
    n_samples: int
    batch: int
    seed: int
    ranks: Ranks
    sources: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    """The indices of the samples of each source of a mixture; none for other data."""

    def measure(self, objective: Objective[Any, Any]) -> dict[str, float]:
        """Returns `val/<name>` for every metric the objective reports; says which ones are NaN.

        Those of a source of a mixture are `val/<source>/<name>`.
        """
        found, count = self._means(objective)
        self._say_undefined(objective, found, count)
        return found

    def _means(self, objective: Objective[Any, Any]) -> tuple[dict[str, float], float]:
        """Returns the metrics, and the count of the loss over all ranks."""
        sums: dict[str, BatchSums] = {name: BatchSums() for name in ("", *self.sources)}
        table = torch.zeros(0)  # of `Loss.rows`
        was_training = objective.training
        objective.eval()
        context = objective.trainer.precision_plugin.forward_context()
        with torch.no_grad(), context, isolated_randomness(self.seed):
            if objective.needs_batch_statistic:
                objective.measure_batches(
                    (one, places) for one, places, _ in self._batches(objective)
                )
            for batch, positions, source in self._batches(objective):
                if objective.gathered is not None:
                    objective.gathered.enter(positions or (0,), replay=False)
                loss, count = objective.evaluate(batch)
                if loss.rows is not None:
                    table = table if len(table) else self._table(loss.rows)
                    table[[*positions]] = loss.rows[: len(positions)]
                for name in dict.fromkeys(("", source)):
                    sums[name].add(loss if positions else zero_loss(loss), 0)
                    sums[name].count += count if positions else 0
        objective.gathered = None
        objective.train(was_training)
        if len(table):
            table = objective.over_ranks(table)  # the others have zeros there
        found: dict[str, float] = {}
        for source, one in sums.items():
            one.count = float(objective.over_ranks(torch.tensor(one.count, dtype=torch.float64)))
            means = objective.report(one.means(objective.over_ranks))
            if isinstance(objective, HeadObjective) and len(table):
                means |= objective.row_metrics(table[[*self._indices(source)]])
            prefix = f"val/{source}/" if source else "val/"
            found |= {f"{prefix}{name}": value for name, value in means.items()}
        return found, sums[""].count

    def _table(self, rows: Tensor) -> Tensor:
        """Returns a table of zeros with a row like `rows` for each sample."""
        return rows.new_zeros(len(self.samples), *rows.shape[1:])

    def metric_names(self, objective: Objective[Any, Any]) -> list[str]:
        """Returns the metrics of a validation, found on a single sample before training."""
        objective.trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
        )
        few = {name: indices[:1] for name, indices in self.sources.items()}
        return [*replace(self, n_samples=1, ranks=Ranks(), sources=few)._means(objective)[0]]

    def refuse_unknown(self, config: ExperimentConfig, objective: Objective[Any, Any]) -> None:
        """Raises ConfigError if a key names a metric that no validation of the run will have."""
        asked = {"trainer.keep_best": config.trainer.keep_best or "val/loss"}
        if all(one.watched for one in config.callback.values()):  # others may report metrics
            for name, one in config.callback.items():
                asked |= {
                    f"callback.{name}.{knob}": watched for knob, watched in one.watched.items()
                }
        known = self.metric_names(objective) if {*asked.values()} != {"val/loss"} else ["val/loss"]
        for key, name in asked.items():
            refuse_unreported(key, name, known)

    def _say_undefined(
        self, objective: Objective[Any, Any], found: Mapping[str, float], count: float
    ) -> None:
        """Adds a note that names the metrics that are NaN, and prints it the first time."""
        undefined = ", ".join(name for name, value in found.items() if math.isnan(value))
        why = "the network returned NaN, or there is nothing to average"
        if count == 0:
            why = f"none of the {self.n_samples:,} held-out samples has anything to evaluate"
        note = f"undefined {undefined}: {why}"
        if undefined and note not in objective.notes:
            objective.notes.append(note)
            if objective.trainer.is_global_zero:
                print(note, file=sys.stderr)

    def _batches(self, objective: Objective[Any, Any]) -> Iterator[tuple[Any, Sequence[int], str]]:
        """Yields this rank's batches, the positions of their samples if they count, the source."""
        for part, counts, source in self._parts():
            batch = objective.held_out_batch(
                [self.samples[i] for i in part],
                [rng(self.seed, VALIDATION, i) for i in part],
            )
            batch = objective.trainer.precision_plugin.convert_input(batch)
            yield (
                objective.transfer_batch_to_device(batch, objective.device, 0),
                (part if counts else ()),
                source,
            )

    def _parts(self) -> Iterator[tuple[Sequence[int], bool, str]]:
        """Yields this rank's batches, whether each counts, and its source.

        All ranks have the same number of them: a sharded network runs only if every rank runs it,
        so a rank with fewer batches repeats one sample that does not count.
        """
        for source in self.sources or ("",):
            indices = self._indices(source)
            mine = chunks(indices[self.ranks.rank :: self.ranks.size], self.batch)
            n_batches = math.ceil(math.ceil(len(indices) / self.ranks.size) / self.batch)
            yield from ((part, True, source) for part in mine)
            yield from (((0,), False, source) for _ in range(n_batches - len(mine)))

    def _indices(self, source: str) -> Sequence[int]:
        """Returns the indices of the samples of a source; of all samples for an empty name."""
        if source:
            return self.sources[source]
        return [*chain(*self.sources.values())] or range(self.n_samples)


def refuse_unreported(key: str, metric: str, reported: Iterable[str]) -> None:
    """Raises ConfigError if a run does not report the metric that a key names."""
    names = [name for name in reported if name.startswith("val/")]
    if metric not in names:
        raise ConfigError(
            f"{key}={metric}: this run does not report {metric}."
            f"{did_you_mean(metric, names)}\n  It reports: {', '.join(names)}."
        )


def zero_loss(loss: Loss) -> Loss:
    """Returns the same sums with every value zero."""
    zeros = {name: torch.zeros_like(value) for name, value in loss.metrics.items()}
    return Loss(torch.zeros_like(loss.total), zeros)
