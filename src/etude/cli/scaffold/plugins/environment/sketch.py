"""A dictionary that the policy asks in its text: `<ask>cat</ask>` is followed by the meaning.

(Replace this with your source and your deviations from it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from etude import plugin
from etude.config import EnvironmentConfig
from etude.objective import Environment, Reply, State


@dataclass
class SketchConfig(EnvironmentConfig):
    meanings: dict[str, str] = field(default_factory=lambda: {"cat": "an animal"})
    """The meaning of each word."""


@plugin(SketchConfig)
class Sketch(Environment[SketchConfig]):
    """Replies to a question within a turn; a turn without one is the answer."""

    @property
    def stop(self) -> Sequence[str]:
        return ["</ask>"]

    def step(self, state: State, turn: str, rng: np.random.Generator) -> Reply:
        _, asks, word = turn.partition("</ask>")[0].rpartition("<ask>")
        if not asks:
            return Reply(state, None)
        return Reply(state, f" ({self.config.meanings.get(word, 'unknown')}) ")

    def example(self, state: State) -> Sequence[str]:
        """Turns of one episode, the last of which ends it."""
        return ["<ask>cat</ask>", "It is an animal."]
