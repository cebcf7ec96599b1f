"""A game of several turns: the policy guesses a number, and reads whether it is higher or lower.

Its own reward is 1 for the number, less `cost` for every other turn, so no option of `reward` is
needed: `environment=guess_number reward=[]`. The prompts of the data are replaced by the rules.
All completions of a group guess the same number. Halving the range finds one of n numbers in
log2(n + 1) guesses, which is what a policy can learn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etude import Prompt, plugin, require
from etude.config import EnvironmentConfig
from etude.objective import Environment, Reply, State

MAX_DIGITS = 9


@dataclass
class GuessNumberConfig(EnvironmentConfig):
    max_turns: int = 8
    """Most guesses in a game; without the number by then, it is truncated. Typical: 4-10."""
    highest: int = 100
    """The number is uniform in 1 to this; at most 9 digits."""
    cost: float = 0.0
    """Subtracted from the reward for every turn without the number. Typical: 0-0.1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        largest = 10**MAX_DIGITS - 1
        require(1 <= self.highest <= largest, f"highest must be 1 to {largest}, got {self.highest}")
        require(self.cost >= 0, f"cost must be 0 or more, got {self.cost}")


@plugin(GuessNumberConfig, scores=True)
class GuessNumber(Environment[GuessNumberConfig]):
    """Replies higher or lower until the first number in a turn is the one to guess."""

    @property
    def stop(self) -> Sequence[str]:
        return ["\n"]

    def prompt(self, prompt: Prompt) -> Prompt:
        return Prompt(f"Guess a number from 1 to {self.config.highest}.\n")

    def start(self, prompt: Prompt, rng: np.random.Generator) -> State:
        return {"number": int(rng.integers(1, self.config.highest + 1))}

    def step(self, state: State, turn: str, rng: np.random.Generator) -> Reply:
        found = re.search(rf"[0-9]{{1,{MAX_DIGITS}}}", turn)
        number = state["number"]
        if found is None:
            text = "Write a number.\n"
        elif (guess := int(found[0])) == number:
            return Reply(state, None, reward=1.0)
        else:
            text = "Lower.\n" if guess > number else "Higher.\n"
        return Reply(state, text, role="user", reward=-self.config.cost)

    def example(self, state: State) -> Sequence[str]:
        number = state["number"]
        return ["a number\n", f"{number + 1}\n", f"{max(0, number - 1)}\n", f"{number}\n"]
