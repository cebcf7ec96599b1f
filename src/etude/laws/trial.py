"""A small experiment with one plugin, on which its laws are tested."""

import contextlib
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from etude.config.registry import Plugin, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import ArchitectureConfig, PluginConfig
from etude.data.corpus import Corpus
from etude.errors import EtudeError
from etude.objective.randomness import TRAIN, rng
from etude.objective.ranks import Ranks
from etude.rl.on_policy import OnPolicyObjective
from etude.training.assemble import TrainingParts, assemble
from etude.training.run import corpus_of, start

LOG = "log.txt"


@dataclass
class Trial:
    """The tested plugin and the experiment it is tested in."""

    tested: PluginConfig
    """The config of the tested plugin."""
    config: ExperimentConfig
    folder: Path
    """Folder for its runs."""
    peer: ExperimentConfig | None = None
    """The same experiment with another plugin of the group."""
    stacks: Mapping[str, ArchitectureConfig] = field(default_factory=dict[str, ArchitectureConfig])
    """Every architecture that can contain the plugin, by name."""

    @property
    def plugin(self) -> Plugin:
        """The tested plugin."""
        return plugin_of(self.tested)

    @cached_property
    def corpus(self) -> Corpus:
        """The data of the experiment."""
        return corpus_of(self.config)

    def assemble(self) -> TrainingParts:
        """Returns the experiment, newly assembled."""
        return assemble(self.config, self.corpus, Ranks())

    @cached_property
    def is_on_policy(self) -> bool:
        """Whether it trains on its own completions, so that there are no fixed samples."""
        return isinstance(self.assemble().objective, OnPolicyObjective)

    def run(self, name: str, config: ExperimentConfig | None = None, **trainer: Any) -> Path:
        """Trains in its own folder, or resumes there; returns the folder."""
        config = config or self.config
        folder = self.folder / name
        config = replace(config, run=str(folder), trainer=replace(config.trainer, **trainer))
        log = self.folder / LOG
        try:
            with silent(log):
                start(config, "check", [])
        except EtudeError as error:
            message = str(error) or log.read_text(encoding="utf-8", errors="replace")[-300:]
            raise RuntimeError(message) from error
        return folder

    @cached_property
    def whole(self) -> Path:
        """Returns the folder of an uninterrupted run."""
        return self.run("whole")


def batch_of(
    made: TrainingParts, positions: Sequence[int], seed: int = 0
) -> Any:  # what the objective collates
    """Returns the batch of the training samples at `positions`."""
    objective = made.objective
    records = [(i, made.train[i % len(made.train)]) for i in positions]
    return objective.collate(
        [objective.example(record, rng(seed, TRAIN, 0, i)) for i, record in records]
    )


@contextlib.contextmanager
def silent(log: Path) -> Generator[None]:
    """Redirects the output of this process and its children to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    with (
        log.open("w", encoding="utf-8") as opened,
        contextlib.redirect_stdout(opened),
        contextlib.redirect_stderr(opened),
    ):
        try:
            for number in (1, 2):
                os.dup2(opened.fileno(), number)
            yield
        finally:
            for number, before in zip((1, 2), saved, strict=True):
                os.dup2(before, number)
                os.close(before)
