"""The score, from 0 to 1, that reasoning-gym gives an answer to one of its problems.

Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760. Some scorers give partial credit to an
answer that is nearly right or well formed. If a scorer fails or returns no number from 0 to 1, the
reward is 0. A prompt that is not one of the problems has no verdict.

Some scorers (of n_queens, countdown and others) run an answer as Python. So each answer is scored
in a sandbox, with time limit: see `reward=python_tests`, also for `trusted`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etude import ConfigError, plugin, require
from etude.config import RewardConfig
from etude.rl import Bench, Verifier

from .._sandbox.sandbox import Sandbox
from .._sandbox.scorer import Scorer

MEMORY_MB = 2048
SCORER = """\
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each takes memory
from reasoning_gym import create_dataset
task = create_dataset({config.task!r}, size={config.n_problems}, seed={config.problem_seed})
def score(text):
    index, _, answer = text.partition(" ")
    return task.score_answer(answer, task[int(index)])
"""


@dataclass
class ReasoningGymRewardConfig(RewardConfig):
    task: str = "chain_sum"
    """Name of the task; must equal data.task."""
    n_problems: int = 1000
    """Number of problems; must equal data.n_problems."""
    problem_seed: int = 0
    """Seed of the problems; must equal data.problem_seed."""
    after: str | None = None
    """The answer is the text after the last of this string, such as </think>; null = all text."""
    timeout_s: float = 10.0
    """Time limit of scoring an answer, in seconds; beyond it, the score is 0."""
    trusted: bool = False
    """Score without a sandbox, with all rights of this process; for systems without one."""

    def __post_init__(self) -> None:
        require(self.n_problems >= 2, f"n_problems must be at least 2, got {self.n_problems}")
        require(self.timeout_s > 0, f"timeout_s must be above 0, got {self.timeout_s}")
        require(self.after != "", "after must not be empty; null takes the whole completion")


@plugin(ReasoningGymRewardConfig, extra="reasoning_gym")
class ReasoningGymReward(Verifier[ReasoningGymRewardConfig]):
    """Keeps every problem, because its scorer needs more than the answer."""

    def __init__(self, config: ReasoningGymRewardConfig) -> None:
        from reasoning_gym import create_dataset  # pyright: ignore -- an extra; takes a second

        super().__init__(config)
        try:
            self.task = create_dataset(
                config.task, size=config.n_problems, seed=config.problem_seed
            )
        except (ValueError, AssertionError) as error:
            raise ConfigError(f"reward.reasoning_gym.task={config.task}: {error}.") from error
        self.problems = {problem["question"]: problem for problem in self.task}
        self.indices = {problem["question"]: index for index, problem in enumerate(self.task)}
        limits = config.timeout_s, MEMORY_MB
        sandbox = Sandbox("reward=reasoning_gym", *limits, config.trusted, library="reasoning_gym")
        self.scores = Scorer(sandbox, SCORER.format(config=config))

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        known = [i for i, prompt in enumerate(prompts) if prompt in self.problems]
        texts = [f"{self.indices[prompts[i]]} {self._answer(completions[i])}" for i in known]
        rewards = [math.nan] * len(prompts)
        for i, score in zip(known, self.scores(texts), strict=True):
            rewards[i] = score if 0 <= score <= 1 else 0.0
        return rewards

    def _answer(self, completion: str) -> str:
        if self.config.after is None:
            return completion.strip()
        _, marker, answer = completion.rpartition(self.config.after)
        return answer.strip() if marker else ""

    def bench(self) -> list[Bench]:
        """Some problems, each with its own answer and with those of the others."""
        before = self.config.after or ""
        problems = [p for p in list(self.problems.values())[:8] if p["answer"] is not None]
        answers = dict.fromkeys(problem["answer"] for problem in problems)
        return [
            Bench(
                None,
                right=[f"{before}{problem['answer']}"],
                wrong=[f"{before}{answer}" for answer in answers if answer != problem["answer"]],
                malformed=["", before, f"{before}\0"],
                adversarial=[f"{before}{problem['question']}", f"{before}{'{answer}'}"],
                prompt=problem["question"],
            )
            for problem in problems
        ]
