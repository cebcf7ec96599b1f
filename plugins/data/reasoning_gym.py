"""Generated problems from reasoning-gym: algebra, logic, games, graphs, each with a verifier.

Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760. Score the answers with
reward=reasoning_gym and the same task, number and seed; it accepts every correct answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from etude import DataError, Prompt, plugin, require
from etude.config import DataConfig
from etude.data import DataSource


@dataclass
class ReasoningGymConfig(DataConfig):
    task: str = "chain_sum"
    """Name of the reasoning-gym task."""
    n_problems: int = 1000
    """Number of problems; duplicates are possible."""
    problem_seed: int = 0
    """Seed that selects the problems."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_problems >= 2, f"n_problems must be at least 2, got {self.n_problems}")


@plugin(ReasoningGymConfig, yields=Prompt, extra="reasoning_gym")
class ReasoningGym(DataSource[ReasoningGymConfig]):
    """Yields each question unchanged, with the generator's reference answer."""

    def records(self) -> Iterator[Prompt]:
        from reasoning_gym import create_dataset  # pyright: ignore -- an extra; takes a second

        config = self.config
        try:
            problems = create_dataset(config.task, size=config.n_problems, seed=config.problem_seed)
        except (ValueError, AssertionError) as error:
            raise DataError(
                f"data.task={config.task} is not a reasoning-gym task: {error}."
            ) from error
        for problem in problems:
            yield Prompt(problem["question"], problem["answer"])

    def fingerprint(self) -> str:
        return version("reasoning-gym")
