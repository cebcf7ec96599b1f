"""What a policy tried: its completions, how likely they were, and what they were worth.

A reward that is NaN is no verdict: its attempt is left out of means, deviations and losses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude.batches import Ids
from etude.inputs import Targets
from etude.network import Network


@dataclass
class Attempt:
    """One completion as the policy wrote it, and what it was worth."""

    prompt: Ids
    completion: Ids
    log_prob: Float[np.ndarray, " tokens"]
    """In nats, when it was written."""
    reward: float
    is_finished: bool
    """Whether it ends with a stop; otherwise max_new_tokens cut it."""
    is_alike: bool
    """Whether all completions of its prompt have the same reward."""
    advantage: float = math.nan
    """NaN: it is not learned from."""
    kl: float = 0.0
    """The k1 estimate of its divergence from the reference when it was written, over its tokens."""


@dataclass
class AttemptBatch:
    """Attempts, row by row; of each token, how likely it was."""

    targets: Targets
    log_prob: Float[Tensor, " n"]
    reward: Float[Tensor, " batch"]
    advantage: Float[Tensor, " batch"]
    is_finished: Bool[Tensor, " batch"]
    is_alike: Bool[Tensor, " batch"]
    kl: Float[Tensor, " batch"]

    @property
    def is_learned(self) -> Bool[Tensor, " batch"]:
        """The rows that the loss knows."""
        return ~self.advantage.isnan()

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Tokens of each completion."""
        return self.targets.where.sum(dim=1)


def attempt_batch(attempts: Sequence[Attempt], network: Network) -> AttemptBatch:
    """Lays attempts out as the network wants them."""
    return AttemptBatch(
        targets=network.answer([(a.prompt, a.completion) for a in attempts]),
        log_prob=torch.from_numpy(np.concatenate([a.log_prob for a in attempts])),
        reward=torch.tensor([a.reward for a in attempts]),
        advantage=torch.tensor([a.advantage for a in attempts]),
        is_finished=torch.tensor([a.is_finished for a in attempts]),
        is_alike=torch.tensor([a.is_alike for a in attempts]),
        kl=torch.tensor([a.kl for a in attempts]),
    )


def accounts(
    batch: AttemptBatch, tokens: Mapping[str, Float[Tensor, " n"]]
) -> dict[str, Float[Tensor, ""]]:
    """Sums to log: of the attempts, and of what is known of their tokens. `told` divides them."""
    known = ~batch.reward.isnan()
    reward = batch.reward.nan_to_num()
    sums = {name: values.detach().sum() for name, values in tokens.items()}
    return sums | {
        "reward": reward.sum(),
        "reward_squares": reward.square().sum(),
        "known": known.to(reward).sum(),
        "attempts": torch.ones_like(reward).sum(),
        "length": batch.lengths.to(reward).sum(),
        "truncated": (~batch.is_finished).to(reward).sum(),
        "alike": batch.is_alike.to(reward).sum(),
        "unlearned": (~batch.is_learned).to(reward).sum(),
    }


OF_ATTEMPTS = ("length", "truncated", "alike", "unlearned", "sequence_kl")


def told(means: Mapping[str, float]) -> dict[str, float]:
    """The means of `accounts` over what each is about, whatever the loss counts.

    Rewards over verdicts, shares over attempts, the rest over tokens.
    """
    if "attempts" not in means:
        return dict(means)
    per = dict.fromkeys(OF_ATTEMPTS, means["attempts"]) | {"reward": means["known"]}
    own = {"loss", "known", "attempts", "reward_squares"}
    tiny = 1e-300
    rest = {k: v / max(per.get(k, means["length"]), tiny) for k, v in means.items() if k not in own}
    variance = means["reward_squares"] / max(means["known"], tiny) - rest["reward"] ** 2
    return {"loss": means["loss"], **rest, "reward_std": max(variance, 0.0) ** 0.5}


def alike(rewards: Float[Tensor, "rows n"]) -> Bool[Tensor, " rows"]:
    """Whether all rewards of a row that are not NaN are the same: it teaches nothing then."""
    infinite = float("inf")
    return rewards.nan_to_num(-infinite).amax(1) <= rewards.nan_to_num(infinite).amin(1)


def rewards_of(attempts: Sequence[Attempt], n_prompts: int) -> Float[Tensor, "prompt group"]:
    """The rewards, prompt by prompt, in float64."""
    rewards = torch.tensor([a.reward for a in attempts], dtype=torch.float64)
    return rewards.unflatten(0, (n_prompts, -1))
