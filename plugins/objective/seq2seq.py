"""Sequence-to-sequence denoising: read a damaged text, write what restores it.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683; Lewis et al. 2019 (BART),
https://arxiv.org/abs/1910.13461. How the text is damaged is a choice of its own:
`objective/corruption`. Special tokens are never noise: packed documents follow one another without
them, as in T5, in rows whose damaged form has data.seq_len tokens (span corruption: the source,
the others: the target). Source and target end with eos. Teacher forcing: the decoder reads the
true target.
Label smoothing: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 5.4, uniform over
the whole vocabulary; perplexity is of the plain surprise, nll.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from etude import plugin
from etude.batches import Ids, TextBatch
from etude.capability import Capability
from etude.contracts import Corruption, Samples, TokenRow
from etude.functional import wide
from etude.loss import Loss
from etude.network import Network
from etude.objective import Objective, Tools
from etude.records import Text
from etude.registry import build
from etude.schema import CorruptionConfig, ObjectiveConfig, option, require
from etude.token_rows import TokenRows
from etude.window import SAMPLE, rng


@dataclass
class Seq2seqConfig(ObjectiveConfig):
    corruption: CorruptionConfig = option("span")
    label_smoothing: float = 0.0
    """Share of the probability asked for that all tokens divide evenly, in [0, 1); 0.1 in 2017."""

    def __post_init__(self) -> None:
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {self.label_smoothing}",
        )


@dataclass(frozen=True)
class DenoisingExample:
    """A damaged text, and what the decoder must write."""

    source: Ids
    target: Ids
    n_bytes: float


def smoothed_loss(
    logits: Float[Tensor, "n vocab"], ids: Int[Tensor, " n"], smoothing: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns the summed cross-entropy in nats, plain and against smoothed labels."""
    nll = F.cross_entropy(logits, ids, reduction="sum")
    if smoothing == 0:
        return nll, nll
    evenly = (logits.logsumexp(-1) - logits.mean(-1)).sum()
    return nll, (1 - smoothing) * nll + smoothing * evenly


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
        self.corrupt: Corruption = build(config.corruption, tools.tokenizer)
        self.room = self.corrupt.raw_length(tools.seq_len)

    def recut(self, samples: Samples) -> Samples:
        """Packed text in rows that are damaged to the same length, so that none is padded."""
        return samples.bare(self.room) if isinstance(samples, TokenRows) else samples

    def example(self, record: TokenRow, rng: np.random.Generator) -> DenoisingExample:
        vocab = self.tools.tokenizer.vocab
        text = record.tokens[~np.isin(record.tokens, list(vocab.special))]
        source, target = self.corrupt(text[: self.room], rng)
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
        targets = batch.targets
        logits = wide(self.network(targets.inputs, targets.where))
        ids = targets.ids[targets.where]
        nll, total = smoothed_loss(logits, ids, self.config.label_smoothing)
        return Loss(total, {"nll": nll.detach()})

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return {**means, "perplexity": math.exp(min(means["nll"], 700.0))}

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        examples = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        written = self.continuations([e.source for e in examples], self.tools.seq_len // 4)
        sources = ["".join(self.tools.tokenizer.pieces(e.source)) for e in examples]
        return [f"{s} [...] {w}" for s, w in zip(sources, written, strict=True)]
