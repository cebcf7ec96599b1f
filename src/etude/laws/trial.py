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
from etude.data.source import Take
from etude.data.token_rows import TokenRows
from etude.errors import EtudeError, InterruptedRunError, PreemptedError
from etude.network.network import Network
from etude.objective.randomness import ROLLOUT, TRAIN, rng
from etude.objective.ranks import Ranks
from etude.rl.on_policy import OnPolicyObjective
from etude.training.assemble import TrainingParts, assemble, trainer_of
from etude.training.run import quiet, start
from etude.training.run_corpus import corpus_of

LOG = "log.txt"
N_RECORDS = 500


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
        """The data of the experiment; of records, the first ones."""
        corpus = corpus_of(self.config)
        sides = (corpus.train, corpus.val)
        few = [x if isinstance(x, TokenRows) else Take(x, N_RECORDS) for x in sides]
        return replace(corpus, train=few[0], val=few[1])

    def assemble(self) -> TrainingParts:
        """Returns the experiment, newly assembled; an on-policy objective has its Trainer."""
        quiet()
        made = assemble(self.config, self.corpus, Ranks())
        if isinstance(made.objective, OnPolicyObjective):
            made.objective.trainer = trainer_of(self.config, made.plan, self.folder, [])
        return made

    @cached_property
    def network(self) -> Network:
        """Returns the network of the experiment, in eval mode, with its initial weights."""
        return self.assemble().objective.eval().network

    @cached_property
    def is_on_policy(self) -> bool:
        """Whether it trains on its own completions, so that there are no fixed samples."""
        made: Any = plugin_of(self.config.objective).build  # of an objective, a class
        return issubclass(made, OnPolicyObjective)

    def run(self, name: str, config: ExperimentConfig | None = None, **trainer: Any) -> Path:
        """Trains in its own folder, or resumes there; returns the folder."""
        config = config or self.config
        folder = self.folder / name
        config = replace(config, run=str(folder), trainer=replace(config.trainer, **trainer))
        log = self.folder / LOG
        try:
            with silent(log):
                start(config, "check", [])
        except (PreemptedError, InterruptedRunError):
            raise
        except EtudeError as error:
            message = str(error) or log.read_text(encoding="utf-8", errors="replace")[-300:]
            raise RuntimeError(message) from error
        return folder

    @cached_property
    def whole(self) -> Path:
        """Returns the folder of an uninterrupted run."""
        return self.run("whole")


def examples_of(made: TrainingParts, positions: Sequence[int], seed: int = 0) -> list[Any]:
    """Returns the examples of the samples, or of a rollout of the prompts, at `positions`."""
    objective = made.objective
    records = [made.train[i % len(made.train)] for i in positions]
    if isinstance(objective, OnPolicyObjective):
        return objective.rollout(records, [(seed, ROLLOUT, i) for i in positions])
    rngs = [rng(seed, TRAIN, 0, i) for i in positions]
    return [objective.example(*pair) for pair in zip(records, rngs, strict=True)]


def batch_of(
    made: TrainingParts, positions: Sequence[int], seed: int = 0
) -> Any:  # what the objective collates
    """Returns the batch of the examples at `positions`."""
    return made.objective.collate(examples_of(made, positions, seed))


@contextlib.contextmanager
def silent(log: Path) -> Generator[None]:
    """Redirects the output of this process and its children to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    with (
        log.open("w", 1, "utf-8") as opened,  # by line, so that the errors of children come last
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
