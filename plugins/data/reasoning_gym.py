"""Problems that reasoning-gym makes: algebra, logic, games, graphs, and how each is checked.

Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760. reward=reasoning_gym of the same task,
number and seed scores the answers, also where a problem has several right ones.
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
    """The name of the task in reasoning-gym."""
    n_problems: int = 1000
    """Number of problems; some may be equal."""
    problem_seed: int = 0
    """Decides which problems; another seed gives others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_problems >= 2, f"n_problems must be at least 2, got {self.n_problems}")


@plugin(ReasoningGymConfig, yields=Prompt, extra="reasoning_gym")
class ReasoningGym(DataSource[ReasoningGymConfig]):
    """The question as it is, with the answer that its maker had in mind."""

    def records(self) -> Iterator[Prompt]:
        from reasoning_gym import create_dataset  # pyright: ignore -- an extra; takes a second

        config = self.config
        try:
            problems = create_dataset(config.task, size=config.n_problems, seed=config.problem_seed)
        except (ValueError, AssertionError) as error:
            raise DataError(f"data.task={config.task} is no task: {error}.") from error
        for problem in problems:
            yield Prompt(problem["question"], problem["answer"])

    def fingerprint(self) -> str:
        return version("reasoning-gym")
