"""What a run will take: parameters, memory, FLOPs, tokens and steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude.adapter import parameters
from etude.assemble import trainer_of
from etude.experiment import ExperimentConfig
from etude.planning.rehearsal import Rehearsal, rehearse
from etude.planning.shapes import shaped
from etude.worker import corpus_of, quiet

MIB = 2**20


@dataclass(frozen=True)
class Forecast:
    """The numbers of a plan."""

    parameters: int
    trainable: int
    steps: int
    micro_batch: int
    rehearsal: Rehearsal

    def lines(self) -> Iterator[str]:
        """The plan for a person to read."""
        held = self.rehearsal
        yield f"parameters: {self.parameters}"
        yield f"trained: {self.trainable} ({self.trainable / self.parameters:.2%})"
        yield f"steps: {self.steps}"
        for name in ("weights", "gradients", "optimizer", "activations", "peak"):
            yield f"{name}: {vars(held)[name] / MIB:,.1f} MiB"


def forecast(config: ExperimentConfig) -> Forecast:
    """Plans a run. Raises ConfigError for what cannot be built."""
    quiet()
    corpus = corpus_of(config)
    made = shaped(config, corpus)
    bare = trainer_of(config, made.plan, Path(), [])
    made.objective.trainer = bare
    micro = next(iter(made.loader))
    sizes = parameters(made.objective.network)
    return Forecast(
        parameters=sizes["parameters"],
        trainable=sizes["trainable"],
        steps=made.plan.steps,
        micro_batch=made.plan.micro_batch,
        rehearsal=rehearse(made.objective, micro.batch, micro.of),
    )
