"""A binary classification head over hidden states, shared by ELECTRA and sentence order."""

from jaxtyping import Float
from torch import Tensor, nn

from etude.network import to_fp32


class BinaryHead(nn.Module):
    """out(activation(dense(states))): one logit per state, initially 0."""

    def __init__(self, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.activation = activation
        self.out = nn.Linear(dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "..."]:
        return to_fp32(self.out(self.activation(self.dense(states)))[..., 0])
