"""A policy with given logits and random completions, to check policy-gradient losses."""

from typing import Any

import tiny
import torch
from torch import Tensor, nn

from etude.network.inputs import Inputs, Targets
from etude.rl.completions import CompletionBatch

N_CASES, LENGTH, N_TOKENS = 1000, 12, 5


class ScriptedNetwork(nn.Module):
    """A network that returns the given logits at every position with a target."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, inputs: Inputs, where: Tensor) -> Tensor:
        return self.logits[where]


class ScriptedCompletions:
    """Completions of random lengths, with logits of policy, sampling policy and reference."""

    def __init__(self, dtype: torch.dtype) -> None:
        draw = torch.Generator().manual_seed(0)
        shape = (N_CASES, LENGTH, N_TOKENS)
        logits = torch.randn(shape, generator=draw, dtype=torch.float64)
        shifts = 0.3 * torch.randn(2, *shape, generator=draw, dtype=torch.float64)
        self.old, self.reference = ((logits + shift).to(dtype) for shift in shifts)
        self.logits = logits.to(dtype).requires_grad_()
        self.ids = torch.randint(N_TOKENS, shape[:2], generator=draw)
        lengths = torch.randint(1, LENGTH + 1, (N_CASES, 1), generator=draw)
        self.where = torch.arange(LENGTH) < lengths
        self.advantage = torch.randn(N_CASES, generator=draw, dtype=torch.float64).to(dtype)

    def objective(self, name: str, **config: Any) -> Any:  # the plugin's own class
        """An objective with the scripted policy and reference."""
        tools = tiny.tools(seq_len=4 * LENGTH)
        made = tiny.objective(name, tools=tools, **config)
        made.network = ScriptedNetwork(self.logits)
        if made.reference is not None:
            made.reference = ScriptedNetwork(self.reference)
        return made

    def log_probs_and_entropies(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of the token and the entropy, at every position."""
        log_probs = logits.log_softmax(-1)
        of_token = log_probs.gather(-1, self.ids[..., None])[..., 0]
        return of_token, -(log_probs.exp() * log_probs).sum(-1)

    def scatter(self, values: Tensor) -> Tensor:
        """Values of target tokens at their positions, 0 elsewhere."""
        return torch.zeros(self.where.shape, dtype=values.dtype).masked_scatter(self.where, values)

    def batch(self) -> CompletionBatch:
        """The completions as a batch of an on-policy objective."""
        zeros = torch.zeros(N_CASES)
        return CompletionBatch(
            targets=Targets(Inputs(self.ids), self.ids, self.where),
            log_prob=self.log_probs_and_entropies(self.old)[0][self.where],
            reward=zeros,
            advantage=self.advantage,
            is_finished=zeros > 0,
            has_zero_variance=zeros > 0,
            kl=zeros,
            parts={},
        )
