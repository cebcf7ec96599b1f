"""Sequence-to-sequence denoising: read a damaged text, write what restores it.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683; Lewis et al. 2019 (BART),
https://arxiv.org/abs/1910.13461. How the text is damaged is a choice of its own:
`objective/corruption`. The special tokens of a row are taken out first, so they are never noise;
source and target end with eos. Teacher forcing: the decoder reads the true target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from etude import plugin
from etude.batches import Ids, TextBatch
from etude.capability import Capability
from etude.contracts import TokenRow
from etude.functional import token_log_prob
from etude.loss import Loss
from etude.network import Network
from etude.objective import Objective, Tools
from etude.records import Text
from etude.registry import build
from etude.schema import CorruptionConfig, ObjectiveConfig, option, require
from etude.window import SAMPLE, rng


@dataclass
class Seq2seqConfig(ObjectiveConfig):
    corruption: CorruptionConfig = option("span")


@dataclass(frozen=True)
class DenoisingExample:
    """A damaged text, and what the decoder must write."""

    source: Ids
    target: Ids
    n_bytes: float


@plugin(
    Seq2seqConfig,
    reads={Text},
    needs={Capability.SOURCE_TARGET},
    lr=1e-3,
    data="python_docs",
)
class Seq2seq(Objective[Seq2seqConfig, TextBatch]):
    """Learns p(target | damaged source); the loss is a mean over target tokens."""

    def __init__(self, config: Seq2seqConfig, network: Network, tools: Tools) -> None:
        super().__init__(config, network, tools)
        require(not tools.confine, "data.confine has no effect: a row is denoised as one text")
        self.corrupt = build(config.corruption, tools.tokenizer.vocab)

    def example(self, record: TokenRow, rng: np.random.Generator) -> DenoisingExample:
        vocab = self.tools.tokenizer.vocab
        text = record.tokens[~np.isin(record.tokens, list(vocab.special))]
        text = text[: self.tools.seq_len - 1]  # eos is added
        source, target = self.corrupt(text, rng)
        return DenoisingExample(
            [*source.tolist(), vocab.eos], [*target.tolist(), vocab.eos], record.n_bytes
        )

    def collate(self, examples: Sequence[DenoisingExample]) -> TextBatch:
        targets = self.network.answer([(e.source, e.target) for e in examples])
        n_bytes = torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64)
        return TextBatch(targets, n_bytes)

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        return Loss(-token_log_prob(self.network, batch.targets).sum())

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        examples = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        written = self.continuations([e.source for e in examples], self.tools.seq_len // 4)
        sources = ["".join(self.tools.tokenizer.pieces(e.source)) for e in examples]
        return [f"{s} [...] {w}" for s, w in zip(sources, written, strict=True)]
