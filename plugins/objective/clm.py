"""Causal language modelling: predicts each token from those before it.

Radford et al. 2018 (GPT), https://openai.com/index/language-unsupervised, equation 1.
Documents are bos + text + eos. In a packed row the first token of a document is never a target,
so no prediction crosses a boundary; `data.intra_document` keeps attention from crossing it too.
Z-loss: Chowdhery et al. 2022 (PaLM), https://arxiv.org/abs/2204.02311, section 5.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from etude import Capability, Text, plugin, require
from etude.config import ObjectiveConfig
from etude.data import TokenRow
from etude.network import to_fp32
from etude.objective import Loss, Objective, TextBatch, next_token_batch, perplexity


@dataclass
class ClmConfig(ObjectiveConfig):
    z_loss: float = 0.0
    """Weight of the squared log-partition function of the softmax; 0 disables it. PaLM: 1e-4."""

    def __post_init__(self) -> None:
        require(self.z_loss >= 0, f"z_loss must be 0 or more, got {self.z_loss}")


def clm_loss(
    logits: Float[Tensor, "n vocab"], ids: Int[Tensor, " n"], z_loss: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns the summed cross-entropy in nats, without and with the z-loss."""
    nll = F.cross_entropy(logits, ids, reduction="sum")
    if z_loss == 0:
        return nll, nll
    return nll, nll + z_loss * logits.logsumexp(-1).square().sum()


@plugin(ClmConfig, reads={Text}, needs={Capability.NEXT_TOKEN}, lr=1e-3, data="python_docs")
class Clm(Objective[ClmConfig, TextBatch]):
    """Learns p(text) = prod p(token | tokens before it)."""

    def example(self, record: TokenRow, rng: np.random.Generator) -> TokenRow:
        return record

    def collate(self, examples: Sequence[TokenRow]) -> TextBatch:
        return next_token_batch(
            examples, self.tools.tokenizer.vocab.pad, intra_document=self.tools.intra_document
        )

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        nll, total = clm_loss(logits, targets.ids[targets.where], self.config.z_loss)
        return Loss(total, {"nll": nll.detach(), "bytes": batch.n_bytes})

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        bits = means["nll"] / math.log(2)
        return {
            "loss": means["loss"],
            "perplexity": perplexity(means["nll"]),
            "bits_per_byte": bits / means["bytes"],
        }

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        seq_len = self.tools.seq_len  # the network may have no positions beyond it
        starts = [row.tokens[: min(32, seq_len // 2)].tolist() for row in records]
        decode = self.tools.tokenizer.decode
        n_new = min(96, seq_len - seq_len // 2)
        written = self.continuations(starts, n_new)
        return [f"{decode(s)} [...] {w}" for s, w in zip(starts, written, strict=True)]
