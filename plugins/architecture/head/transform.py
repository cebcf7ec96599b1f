"""BERT's masked-LM head: a dense layer, GELU and a norm, then logits with biases.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805, as in `modeling.py` (get_masked_lm_output);
RoBERTa, ALBERT and ModernBERT use the same.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.config import Approximate, HeadConfig
from etude.network import Head, HeadParts


@dataclass
class TransformConfig(HeadConfig):
    bias: bool = True
    """Whether the dense layer has a bias. ModernBERT: false."""
    approximate: Approximate = Approximate.none
    """none = exact GELU; tanh = its tanh approximation, as in ALBERT."""


@plugin(TransformConfig)
class Transform(Head):
    """out(norm(gelu(dense(states)))); the dense layer projects to embedding_dim."""

    def __init__(self, config: TransformConfig, parts: HeadParts) -> None:
        super().__init__()
        self.approximate = config.approximate.value
        self.dense = nn.Linear(parts.dim, parts.embedding_dim, config.bias)
        self.norm = parts.norm()
        self.out = nn.Linear(parts.embedding_dim, parts.n_vocab)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.out(self.norm(F.gelu(self.dense(states), approximate=self.approximate)))
