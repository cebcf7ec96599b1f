"""Value functions: the expected return from each token on, computed from hidden states.

A head on the policy's own states costs almost nothing, but its gradients also move the policy. A
separate network starts from a reward model and its trained head if there is one (Stiennon et al.
2020, https://arxiv.org/abs/2009.01325, appendix G.1), otherwise from the policy.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude import ConfigError
from etude.config import max_positions_of
from etude.formats import read_model
from etude.network import Network, Targets, freeze_head
from etude.objective import ObjectiveContext
from etude.rl import HEAD, ScoreHead, Scorer, read_reward_model


class ValueKind(Enum):
    """Whether values come from the policy's states or from a separate network."""

    head = "head"
    network = "network"


class Value(nn.Module, ABC):
    """The value before each target token, in at least fp32."""

    note: str
    """How the values are initialised, for the user."""

    @abstractmethod
    def forward(self, targets: Targets, states: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        """Values where `targets.where` is true; `states` are the policy's states there."""


class ValueHead(Value):
    """A linear map of the policy's states; initially 0."""

    note = "values are computed from the policy's own states and start at 0"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = ScoreHead(dim)

    def forward(self, targets: Targets, states: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        return self.head(states)


class ValueNetwork(Value):
    """A separate network that reads the policy's inputs, with a linear head on its states."""

    def __init__(self, network: Network, head: ScoreHead, note: str) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.note = note
        freeze_head(network)

    def forward(self, targets: Targets, states: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        return self.head(self.network.states(targets.inputs)[targets.where])


def value_losses(
    value: Float[Tensor, " n"],
    old_value: Float[Tensor, " n"],
    returns: Float[Tensor, " n"],
    epsilon: float | None,
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """max((V - R)^2, (V_clipped - R)^2) / 2, and where clipping zeroes the gradient.

    V_clipped stays within `epsilon` of the rollout's value; None disables clipping.
    As in https://github.com/openai/lm-human-preferences, train_policy.py.
    """
    free = (value - returns).square()
    if epsilon is None:
        return free / 2, torch.zeros_like(free, dtype=torch.bool)
    clipped = (old_value + (value - old_value).clamp(-epsilon, epsilon) - returns).square()
    return torch.maximum(free, clipped) / 2, clipped > free


def variance_terms(
    returns: Float[Tensor, " n"], value: Float[Tensor, " n"]
) -> dict[str, Float[Tensor, " n"]]:
    """Per-token terms from which `explained_variance` is computed."""
    residual = returns - value
    return {
        "_return": returns,
        "_return_square": returns.square(),
        "_residual": residual,
        "_residual_square": residual.square(),
    }


def with_explained_variance(means: Mapping[str, float]) -> dict[str, float]:
    """Replaces the terms of `variance_terms` by 1 - var(returns - values) / var(returns)."""
    if "_return" not in means:
        return dict(means)
    returns, residual = (
        max(means[f"{name}_square"] - means[name] ** 2, 0.0) for name in ("_return", "_residual")
    )
    metrics = {k: v for k, v in means.items() if not k.startswith("_")}
    return metrics | {"explained_variance": 1 - residual / returns if returns else 0.0}


def value_of(kind: ValueKind, policy: Network, tools: ObjectiveContext) -> Value:
    """Builds the value function of a policy. Raises ConfigError for an unsuitable reward model.

    Weights that an adapter has frozen are shared with the policy, not copied.
    """
    if kind is ValueKind.head:
        return ValueHead(policy.dim)
    run = reward_model_of(tools.teachers)
    if run is not None:
        return from_reward_model(run, policy, tools)
    frozen = {id(p): p for p in policy.parameters() if not p.requires_grad}
    network: Network = copy.deepcopy(policy, frozen)
    return ValueNetwork(
        network, ScoreHead(policy.dim), "values start at 0, in a copy of the policy"
    )


def reward_model_of(runs: Sequence[str]) -> str | None:
    """The only reward model among the runs; None if there is none or more than one."""
    models = [run for run in runs if read_model(run).extra_tensors(HEAD)]
    return models[0] if len(models) == 1 else None


def from_reward_model(run: str, policy: Network, tools: ObjectiveContext) -> ValueNetwork:
    """The reward model of a run as a value function; its values start as reward=model's scores.

    Raises ConfigError if the reward model cannot read the policy's completions.
    """
    scorer = read_reward_model(run)
    model = read_model(run)
    n_positions = max_positions_of(model.architecture)
    mismatches = {
        "its architecture differs from the policy's": type(scorer.network) is not type(policy),
        "it has a different tokenizer": scorer.tokenizer.digest != tools.tokenizer.digest,
        f"it has {n_positions} positions, fewer than data.seq_len={tools.seq_len}": (
            (n_positions or 1e9) < tools.seq_len
        ),
    }
    for mismatch in (reason for reason, is_so in mismatches.items() if is_so):
        raise ConfigError(
            f"objective.value=network cannot start from the reward model of {run}: {mismatch}.\n"
            "  Use a reward model that was trained from the same run as the policy, or "
            "objective.value=head, which needs no reward model."
        )
    note = f"values start as the scores of {run}"
    return ValueNetwork(model.network(), normalised_head(scorer), note)


def normalised_head(scorer: Scorer) -> ScoreHead:
    """The head of a reward model, rescaled so that held-out scores have mean 0 and std 1."""
    head = copy.deepcopy(scorer.head)
    std = max(scorer.std, 1e-8)
    with torch.no_grad():
        head.weight.div_(std)
        head.bias.sub_(scorer.mean).div_(std)
    return head.requires_grad_(True)
