"""A small experiment with one plugin in it, for the laws to be tried on."""

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
from etude.training.assemble import Assembled, assemble
from etude.training.run import corpus_of, start

LOG = "log.txt"


@dataclass
class Trial:
    """What is tried, and everything that it is tried in."""

    tried: PluginConfig
    """The config of the plugin that is on trial."""
    config: ExperimentConfig
    folder: Path
    """Where its runs are written."""
    peer: ExperimentConfig | None = None
    """The same experiment with another plugin of the group."""
    stacks: Mapping[str, ArchitectureConfig] = field(default_factory=dict[str, ArchitectureConfig])
    """Every architecture that a part of a network can be part of, by name."""

    @property
    def plugin(self) -> Plugin:
        """The plugin on trial."""
        return plugin_of(self.tried)

    @cached_property
    def corpus(self) -> Corpus:
        """What is learned from."""
        return corpus_of(self.config)

    def assembled(self) -> Assembled:
        """The experiment, built anew."""
        return assemble(self.config, self.corpus, Ranks())

    @cached_property
    def writes(self) -> bool:
        """Whether its samples are what the network writes, so that there are none to be had."""
        return isinstance(self.assembled().objective, OnPolicyObjective)

    def run(self, name: str, config: ExperimentConfig | None = None, **trainer: Any) -> Path:
        """Trains in a folder of its own, or goes on there; returns the folder."""
        config = config or self.config
        folder = self.folder / name
        given = replace(config, run=str(folder), trainer=replace(config.trainer, **trainer))
        log = self.folder / LOG
        try:
            with silent(log):
                start(given, "check", [])
        except EtudeError as error:
            said = str(error) or log.read_text(encoding="utf-8", errors="replace")[-300:]
            raise RuntimeError(said) from error
        return folder

    @cached_property
    def whole(self) -> Path:
        """A run from its first step to its last."""
        return self.run("whole")


def batch_of(made: Assembled, places: Sequence[int], seed: int = 0) -> Any:  # the objective's own
    """The batch of some training samples."""
    objective = made.objective
    records = [(i, made.train[i % len(made.train)]) for i in places]
    return objective.collate(
        [objective.example(record, rng(seed, TRAIN, 0, i)) for i, record in records]
    )


@contextlib.contextmanager
def silent(log: Path) -> Generator[None]:
    """Keeps what this process and those that it starts print in a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
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
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)
