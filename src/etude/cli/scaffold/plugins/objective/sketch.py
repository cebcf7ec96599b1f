"""Causal language modeling with a focal loss, which down-weights easy tokens.

Lin et al. 2017 (focal loss), https://arxiv.org/abs/1708.02002, equation 4, per token. Deviation: no
class weights. (Replace this with your source and your deviations from it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Text, plugin, require
from etude.config import ObjectiveConfig
from etude.data import TokenRow
from etude.objective import Loss, Objective, TextBatch, next_token_batch, token_log_prob


@dataclass
class SketchConfig(ObjectiveConfig):
    gamma: float = 2.0
    """Focusing exponent; 0 = cross-entropy, larger = easy tokens weigh less. Typical: 0.5-5."""

    def __post_init__(self) -> None:
        require(self.gamma >= 0, f"gamma must be 0 or more, got {self.gamma}")


def sketch_loss(log_prob: Float[Tensor, " n"], gamma: float) -> Float[Tensor, " n"]:
    """Returns -(1 - p)^gamma log p of each token, in nats."""
    return -((1 - log_prob.exp()) ** gamma) * log_prob


@plugin(SketchConfig, reads={Text}, needs={Capability.NEXT_TOKEN}, lr=1e-3, data="python_docs")
class Sketch(Objective[SketchConfig, TextBatch]):
    """Predicts each token from those before it, with more weight on hard tokens."""

    def example(self, record: TokenRow, rng: np.random.Generator) -> TokenRow:
        return record

    def collate(self, examples: Sequence[TokenRow]) -> TextBatch:
        pad = self.tools.tokenizer.vocab.pad
        return next_token_batch(examples, pad, intra_document=self.tools.intra_document)

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        log_prob = token_log_prob(self.network, batch.targets)
        losses = sketch_loss(log_prob, self.config.gamma)
        return Loss(losses.sum(), {"nll": -log_prob.detach().sum()})  # sums; étude normalizes them
