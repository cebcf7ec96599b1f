"""T5's weights: every map keeps the size of its input, and queries make up for unscaled logits.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683, as in `mesh_tensorflow`: N(0, 1 / inputs)
for every matrix, over the width of a head as well for queries, N(0, 1) for the token table,
N(0, 1 / dim) for the relative biases and any other table.
A head of its own (T5 v1.1) is a matrix as any; transformers draws it from N(0, 1), and then an
untrained model pays far more than the log of its vocabulary a token.
"""

import math
from dataclasses import dataclass

from torch import nn

from etude import plugin, require
from etude.config import InitConfig
from etude.network import QueryIn, StackNetwork, draw_normal


@dataclass
class T5Config(InitConfig):
    factor: float = 1.0
    """Factor of every standard deviation."""

    def __post_init__(self) -> None:
        require(self.factor > 0, f"factor must be positive, got {self.factor}")


@plugin(T5Config)
def t5(config: T5Config, network: StackNetwork, n_layers: int) -> None:
    """Fills every weight; biases are 0."""

    def std(module: nn.Linear | nn.Embedding) -> float:
        if module is network.embedding:
            return config.factor
        if isinstance(module, nn.Embedding):
            return config.factor / math.sqrt(network.dim)
        per_head = module.head_dim if isinstance(module, QueryIn) else 1
        return config.factor / math.sqrt(module.in_features * per_head)

    draw_normal(network, std)
