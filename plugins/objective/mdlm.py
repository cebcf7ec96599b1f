"""Masked diffusion language modelling: predicts masked tokens at every mask ratio from 0 to 1.

Sahoo et al. 2024 (MDLM), https://arxiv.org/abs/2406.07524, equation 10 with the log-linear
schedule: at level t each token is masked with probability t, and the loss is -log p(token) / t over
the masked ones. Its mean over t is a bound on -log p(text), so that bits per byte can be compared
with those of objective=clm: it has the same tokens and bytes, and the first token of a document is
never masked. The levels of a global batch are stratified, as in their code (`antithetic_sampling`).
`generator=diffusion` writes and infills text with the network.
Deviations: no time conditioning, as in their models; validation uses `val_levels` levels per row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude import Capability, Text, plugin, require
from etude.config import ObjectiveConfig
from etude.data import Samples, TokenRow
from etude.network import Inputs, Targets, pad_right, to_fp32
from etude.objective import (
    SAMPLE,
    EpochSource,
    Loss,
    Objective,
    Ranks,
    StepSource,
    TextBatch,
    perplexity,
    rng,
)

LOWEST = 1e-3
"""The lowest level; below it almost no row has a masked token."""


@dataclass
class MdlmConfig(ObjectiveConfig):
    val_levels: int = 4
    """Levels at which each held-out row is evaluated; more of them reduce the noise of the bound,
    not its mean. Typical: 1-16."""

    def __post_init__(self) -> None:
        require(self.val_levels >= 1, f"val_levels must be at least 1, got {self.val_levels}")


@dataclass(frozen=True)
class NoisyRow:
    """A row and its noise: a token is masked if its draw is below the level."""

    tokens: Int[np.ndarray, " seq"]
    documents: Int[np.ndarray, " seq"]
    modelled: Bool[np.ndarray, " seq"]
    """False for the first token of a document, which is never masked."""
    draws: Float[np.ndarray, " seq"]
    quantile: float
    """The level t, as a fraction of [LOWEST, 1]."""
    n_bytes: float

    @property
    def level(self) -> float:
        """The probability that a token is masked."""
        return LOWEST + (1 - LOWEST) * self.quantile

    @property
    def masked(self) -> Bool[np.ndarray, " seq"]:
        """Which tokens are masked."""
        return self.modelled & (self.draws < self.level)


@dataclass
class DiffusionBatch(TextBatch):
    """Masked rows, with the weight of each token in the bound and the tokens that it covers."""

    weights: Float[Tensor, "batch seq"]
    modelled: Bool[Tensor, "batch seq"]


def stratified(row: NoisyRow, index: int, of: int) -> NoisyRow:
    """Returns the row with its level in part `index` of [0, 1], divided into `of` equal parts."""
    return replace(row, quantile=(index + row.quantile) / of)


@plugin(
    MdlmConfig,
    reads={Text},
    needs={Capability.BOTH_SIDES},
    lr=1e-3,
    data="python_docs",
    tokens={"mask"},
)
class Mdlm(Objective[MdlmConfig, DiffusionBatch]):
    """Learns p(masked tokens | all the others) at every ratio; a mean over all tokens, in nats."""

    unit = "modelled tokens"

    def example(self, record: TokenRow, rng: np.random.Generator) -> NoisyRow:
        documents = record.documents
        tokens = record.tokens[1:]  # as objective=clm, which predicts these from those before
        modelled = documents[1:] == documents[:-1]
        draws = rng.random(len(tokens))
        return NoisyRow(tokens, documents[1:], modelled, draws, rng.random(), record.n_bytes)

    def source(self, samples: Samples, global_batch: int, seed: int, ranks: Ranks) -> StepSource:
        super().source(samples, global_batch, seed, ranks)  # refuses samples without a target
        return EpochSource(samples, self.example, global_batch, seed, ranks, stratified)

    def collate(self, examples: Sequence[NoisyRow]) -> DiffusionBatch:
        vocab = self.tools.tokenizer.vocab
        masked = [np.where(e.masked, vocab.mask, e.tokens).tolist() for e in examples]
        inputs = pad_right(masked, vocab.pad)
        documents = inputs.documents
        if self.tools.intra_document:
            documents = pad_right([e.documents.tolist() for e in examples], 0).tokens
        ids = pad_right([e.tokens.tolist() for e in examples], vocab.pad).tokens
        where = pad_right([e.masked.tolist() for e in examples], 0).tokens.bool()
        modelled = pad_right([e.modelled.tolist() for e in examples], 0).tokens.bool()
        weights = torch.tensor([[1 / e.level] for e in examples], dtype=torch.float64)
        return DiffusionBatch(
            Targets(Inputs(inputs.tokens, documents), ids, where),
            torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64),
            weights.expand(where.shape),
            modelled,
        )

    def count(self, batch: DiffusionBatch) -> float:
        return float(batch.modelled.sum())

    def loss(self, batch: DiffusionBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        logits = without_mask(logits, self.tools.tokenizer.vocab.mask)
        nll = F.cross_entropy(logits, targets.ids[targets.where], reduction="none")
        total = (nll * batch.weights[targets.where].to(nll)).sum()
        return Loss(total, {"bytes": batch.n_bytes})

    def held_out_batch(
        self, records: Sequence[TokenRow], rngs: Sequence[np.random.Generator]
    ) -> DiffusionBatch:
        n = self.config.val_levels
        pairs = list(zip(records, rngs, strict=True))
        return self.collate(
            [stratified(self.example(*pair), i, n) for pair in pairs for i in range(n)]
        )

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        bits = means["loss"] / math.log(2)
        return {
            "loss": means["loss"],
            "perplexity": perplexity(means["loss"]),
            "bits_per_byte": bits / means["bytes"],
        }

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        """Half of the tokens of each record masked, and then filled in one step."""
        tokenizer = self.tools.tokenizer
        texts: list[str] = []
        for i, record in enumerate(records):
            row = replace(self.example(record, rng(self.tools.seed, SAMPLE, i)), quantile=0.5)
            given = np.where(row.masked, tokenizer.vocab.mask, row.tokens)
            logits = self.network(Inputs(torch.from_numpy(given)[None].to(self.device)))
            best = without_mask(logits, tokenizer.vocab.mask).argmax(-1)[0].cpu().numpy()
            filled = np.where(row.masked, best, row.tokens)
            texts.append(f"{''.join(tokenizer.pieces(given))} [...] {tokenizer.decode(filled)}")
        return texts


def without_mask(logits: Float[Tensor, "... vocab"], mask: int) -> Float[Tensor, "... vocab"]:
    """Returns the logits with p(mask) = 0: no text contains a mask (section 3.2.3)."""
    index = torch.tensor([mask], device=logits.device)
    return logits.index_fill(-1, index, -torch.inf)
