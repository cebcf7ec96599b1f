"""An output head on hidden states, for labels and numbers.

`tanh` is BERT's pooler with its classifier, and the heads of RoBERTa, BART and T5; `gelu` is that
of ModernBERT (Warner et al. 2024, https://arxiv.org/abs/2412.13663); `none` that of GPT-2 and
Llama. The output layer starts at 0, so that all labels are equally probable. Deviation: no dropout.
"""

from enum import Enum

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude.network import to_fp32


class Transform(Enum):
    """What is computed of a state before the output layer."""

    none = "none"
    tanh = "tanh"
    gelu = "gelu"


class OutputHead(nn.Module):
    """out(transform(state)), in at least fp32."""

    def __init__(self, dim: int, n: int, transform: Transform, *, bias: bool) -> None:
        super().__init__()
        self.transform = transform
        if transform is not Transform.none:
            self.dense = nn.Linear(dim, dim, bias=transform is Transform.tanh)
        if transform is Transform.gelu:
            self.norm = nn.LayerNorm(dim, bias=False)
        self.out = nn.Linear(dim, n, bias=bias)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... n"]:
        if self.transform is Transform.tanh:
            states = self.dense(states).tanh()
        elif self.transform is Transform.gelu:
            states = self.norm(F.gelu(self.dense(states)))
        return to_fp32(self.out(states))
