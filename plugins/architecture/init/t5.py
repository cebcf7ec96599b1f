"""T5's initialisation: layers preserve variance, and query weights absorb the logit scale.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683, as in `mesh_tensorflow`: variance
1 / n_in for matrices, 1 / (n_in head_dim) for queries, 1 for the token table and 1 / dim for
relative biases and any other table.
An untied head (T5 v1.1) is initialised like any matrix; transformers draws it from N(0, 1), which
starts the loss far above log(n_vocab) per token.
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
    """Initialises every weight and sets biases to 0."""

    def std(module: nn.Linear | nn.Embedding) -> float:
        if module is network.embedding:
            return config.factor
        if isinstance(module, nn.Embedding):
            return config.factor / math.sqrt(network.dim)
        per_head = module.head_dim if isinstance(module, QueryIn) else 1
        return config.factor / math.sqrt(module.in_features * per_head)

    draw_normal(network, std)
