"""PPO's samples: completions with the value, advantage and return of each token."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.rl import Completion, CompletionBatch

from .advantages import token_rewards


@dataclass(kw_only=True)
class Experience(Completion):
    """A completion with the value, advantage and return of each token, and its beta."""

    estimates: Float[np.ndarray, "tokens 3"]
    """Value, advantage and return of each token."""
    beta: float


@dataclass(kw_only=True)
class ExperienceBatch(CompletionBatch):
    """A batch of completions, with value, advantage and return of each trained token."""

    estimates: Float[Tensor, "n 3"]
    beta: Float[Tensor, " batch"]
    response_length: Int[Tensor, " batch"]
    """Tokens of each completion, with or without a verdict."""

    def values(self, gamma: float, decay: float) -> dict[str, Float[Tensor, " n"]]:
        """Returns the value, advantage, return and reward of each trained token."""
        value, advantage, returns = self.estimates.unbind(dim=1)
        sizes = self.lengths.tolist()
        rows = zip(returns.split(sizes), value.split(sizes), strict=True)
        reward = torch.cat([token_rewards(*row, gamma, decay) for row in rows])
        return {"value": value, "advantage": advantage, "return": returns, "reward": reward}


def experience(
    row: Completion, estimates: Float[np.ndarray, "seq 3"], score: float, kl: float, beta: float
) -> Experience:
    """Builds an Experience from a completion, in the precision of its log-probabilities."""
    estimates = estimates[: len(row.log_prob)].astype(row.log_prob.dtype)
    mean = np.nan if np.isnan(score) else float(estimates[:, 1].mean())
    return Experience(**vars(replace(row, advantage=mean, kl=kl)), estimates=estimates, beta=beta)
