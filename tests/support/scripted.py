"""A policy whose every logit is written down: what the maths on top of it is held against."""

from typing import Any

import tiny
import torch
from torch import Tensor, nn

from etude.network.inputs import Inputs, Targets
from etude.rl.completions import CompletionBatch

N_CASES, LENGTH, N_TOKENS = 1000, 12, 5


class Script(nn.Module):
    """A network that gives, wherever a token is due, the logits it was told."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, inputs: Inputs, where: Tensor) -> Tensor:
        return self.logits[where]


class Play:
    """Completions of random lengths, with the logits of a policy, and of its reference."""

    def __init__(self, dtype: torch.dtype) -> None:
        draw = torch.Generator().manual_seed(0)
        shape = (N_CASES, LENGTH, N_TOKENS)
        to_fp32 = torch.randn(shape, generator=draw, dtype=torch.float64)
        shifts = 0.3 * torch.randn(2, *shape, generator=draw, dtype=torch.float64)
        self.old, self.reference = ((to_fp32 + shift).to(dtype) for shift in shifts)
        self.logits = to_fp32.to(dtype).requires_grad_()
        self.ids = torch.randint(N_TOKENS, shape[:2], generator=draw)
        lengths = torch.randint(1, LENGTH + 1, (N_CASES, 1), generator=draw)
        self.where = torch.arange(LENGTH) < lengths
        self.advantage = torch.randn(N_CASES, generator=draw, dtype=torch.float64).to(dtype)

    def objective(self, name: str, **config: Any) -> Any:  # the plugin's own class
        """An objective whose policy and reference are the scripted ones."""
        tools = tiny.tools(seq_len=4 * LENGTH)
        made = tiny.objective(name, tools=tools, **config)
        made.network = Script(self.logits)
        if made.reference is not None:
            made.reference = Script(self.reference)
        return made

    def spread(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each token, and the entropy, at every place."""
        log_probs = logits.log_softmax(-1)
        chosen = log_probs.gather(-1, self.ids[..., None])[..., 0]
        return chosen, -(log_probs.exp() * log_probs).sum(-1)

    def padded(self, values: Tensor) -> Tensor:
        """What is known of the tokens due, at every place."""
        return torch.zeros(self.where.shape, dtype=values.dtype).masked_scatter(self.where, values)

    def batch(self) -> CompletionBatch:
        """The completions as an on-policy objective is given them."""
        still = torch.zeros(N_CASES)
        return CompletionBatch(
            targets=Targets(Inputs(self.ids), self.ids, self.where),
            log_prob=self.spread(self.old)[0][self.where],
            reward=still,
            advantage=self.advantage,
            is_finished=still > 0,
            has_zero_variance=still > 0,
            kl=still,
            parts={},
        )
