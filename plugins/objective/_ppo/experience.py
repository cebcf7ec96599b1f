"""What PPO learns from: completions, and what was expected and found at each of their tokens."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from etude.rl import (
    Completion,
    CompletionBatch,
)


@dataclass(kw_only=True)
class Experience(Completion):
    """A completion, and what was expected and found at each of its tokens."""

    worth: Float[np.ndarray, "tokens 3"]
    """Value, advantage and return of each token."""
    beta: float


@dataclass(kw_only=True)
class ExperienceBatch(CompletionBatch):
    """Completions; of every token that is learned from, what was expected and found."""

    worth: Float[Tensor, "n 3"]
    beta: Float[Tensor, " batch"]


def experience(
    attempt: Completion, worth: Float[np.ndarray, "seq 3"], score: float, kl: float, beta: float
) -> Experience:
    """What an attempt was worth, in the precision of its log-probabilities."""
    own = worth[: len(attempt.completion)].astype(attempt.log_prob.dtype)
    mean = np.nan if np.isnan(score) else float(own[:, 1].mean())
    return Experience(**vars(replace(attempt, advantage=mean, kl=kl)), worth=own, beta=beta)
