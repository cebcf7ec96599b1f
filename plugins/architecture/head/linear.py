"""A linear head: one map from hidden states to scores.

Softened logits: Gemma team 2024, https://arxiv.org/abs/2408.00118, section 2. States divided by
the root of their width: T5 with a tied head, https://arxiv.org/abs/1910.10683, as in
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
    """Whether every token has a bias."""
    scaled: bool = False
    """Whether states are divided by the root of dim first, as in T5 with a tied head."""
    softcap: float | None = None
    """Bound c of the logits, which become c tanh(logit / c); null = none (Gemma 2: 30)."""

    def __post_init__(self) -> None:
        require(
            self.softcap is None or self.softcap > 0,
            f"softcap must be positive or null, got {self.softcap}",
        )


@plugin(LinearConfig)
class Linear(Head):
    """out(states); where the token table is narrower, a map to its width comes before."""

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
