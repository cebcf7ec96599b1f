"""A linear head: projects hidden states to logits.

Soft-capping: Gemma team 2024, https://arxiv.org/abs/2408.00118, section 2. Hidden states divided
by sqrt(dim): T5 with a tied head, https://arxiv.org/abs/1910.10683, as in
`mesh_tensorflow/transformer/transformer.py`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import HeadConfig
from etude.network import Head, HeadParts


@dataclass
class LinearConfig(HeadConfig):
    bias: bool = False
    """Whether the output layer has a bias."""
    scaled: bool = False
    """Whether hidden states are first divided by sqrt(dim), as in T5 with a tied head."""
    softcap: float | None = None
    """Soft cap c on the logits, applied as c tanh(logit / c); null = no cap. Gemma 2: 30."""

    def __post_init__(self) -> None:
        require(
            self.softcap is None or self.softcap > 0,
            f"softcap must be positive or null, got {self.softcap}",
        )


@plugin(LinearConfig)
class Linear(Head):
    """out(states), after a projection to embedding_dim if that differs from dim."""

    def __init__(self, config: LinearConfig, parts: HeadParts) -> None:
        super().__init__()
        width = parts.embedding_dim
        self.scale = parts.dim**-0.5 if config.scaled else 1.0
        self.softcap = config.softcap
        self.narrow: nn.Module = (
            nn.Linear(parts.dim, width, bias=False) if width != parts.dim else nn.Identity()
        )
        self.out = nn.Linear(width, parts.n_vocab, config.bias)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        logits = self.out(self.narrow(states * self.scale))
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)
