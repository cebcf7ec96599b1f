"""Held-out samples, measured: exact sums over all ranks, and no trace left in the training run."""

from dataclasses import dataclass
from typing import Any

import torch

from etude.contracts import Samples
from etude.objective import Objective, Tally
from etude.window import VALIDATION, Ranks, cut, rng


@dataclass(frozen=True)
class Validation:
    """What is validated on, and in what portions."""

    samples: Samples
    n_samples: int
    batch: int
    seed: int
    ranks: Ranks

    def measure(self, objective: Objective[Any, Any]) -> dict[str, float]:
        """Returns `val/<name>` of everything the objective reports."""
        mine = range(self.ranks.rank, self.n_samples, self.ranks.size)
        tally = Tally()
        was_training = objective.training
        objective.eval()
        context = objective.trainer.precision_plugin.forward_context()
        with torch.no_grad(), context:
            for part in cut(mine, self.batch):
                batch = objective.held_out_batch(
                    [self.samples[i] for i in part],
                    [rng(self.seed, VALIDATION, i) for i in part],
                )
                batch = objective.trainer.precision_plugin.convert_input(batch)
                batch = objective.transfer_batch_to_device(batch, objective.device, 0)
                loss, count = objective.evaluate(batch)
                tally.add(loss, 0)
                tally.count += count
        objective.train(was_training)
        tally.count = float(objective.over_ranks(torch.tensor(tally.count, dtype=torch.float64)))
        means = objective.report(tally.means(objective.over_ranks))
        return {f"val/{name}": value for name, value in means.items()}
