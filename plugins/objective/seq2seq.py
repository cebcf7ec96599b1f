"""Sequence-to-sequence: restores a corrupted text, or predicts the target of a pair.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683; Lewis et al. 2019 (BART),
https://arxiv.org/abs/1910.13461. `objective/corruption` chooses how text is corrupted. Special
tokens are never noise: packed documents follow one another without them, as in T5, in rows whose
corrupted form has data.seq_len tokens (span corruption: the source; others: the target). Source and
target end with eos. Teacher forcing: the decoder reads the true target.
Pairs of source and target are used uncorrupted: translation, summarisation. Both are truncated at
data.seq_len, and truncations are counted. Greedy outputs for held-out sources are scored.
Label smoothing: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 5.4, uniform over
the whole vocabulary; perplexity is computed from the unsmoothed nll.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from etude import Capability, ConfigError, Pair, Text, only_with, option, plugin, require
from etude.config import CorruptionConfig, Measure, ObjectiveConfig, build, plugin_of
from etude.data import Samples, TokenRow, TokenRows
from etude.network import Network, to_fp32
from etude.objective import (
    SAMPLE,
    Corruption,
    HeldOutPrompts,
    Ids,
    Loss,
    Objective,
    ObjectiveContext,
    TextBatch,
    average_measures,
    perplexity,
    rng,
    score_answers,
    similarity,
)


@dataclass
class Seq2seqConfig(ObjectiveConfig):
    corruption: CorruptionConfig = option("span")
    label_smoothing: float = 0.0
    """Probability mass spread evenly over all tokens, in [0, 1); 0.1 in Vaswani et al. 2017."""
    max_new_tokens: int = 64
    """Maximum generated tokens, for samples and for metrics on pairs; 0 disables generation."""
    measures: list[Measure] = only_with("max_new_tokens>0", [Measure.exact_match])
    """Metrics of text generated from held-out sources; chrf and rouge_l need the extra `text`."""

    def __post_init__(self) -> None:
        require(
            self.max_new_tokens >= 0, f"max_new_tokens must be 0 or more, got {self.max_new_tokens}"
        )
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {self.label_smoothing}",
        )


@dataclass(frozen=True)
class DenoisingExample:
    """A source, corrupted or as it is, and the target of the decoder."""

    source: Ids
    target: Ids
    n_bytes: float
    is_pair: bool = False


@dataclass
class Seq2seqBatch(TextBatch):
    """Targets to predict; for held-out pairs, also the sources to generate from."""

    prompts: HeldOutPrompts | None = None


def smoothed_loss(
    logits: Float[Tensor, "n vocab"], ids: Int[Tensor, " n"], smoothing: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns the summed cross-entropy in nats, against plain and against smoothed labels."""
    nll = F.cross_entropy(logits, ids, reduction="sum")
    if smoothing == 0:
        return nll, nll
    evenly = (logits.logsumexp(-1) - logits.mean(-1)).sum()
    return nll, (1 - smoothing) * nll + smoothing * evenly


@plugin(
    Seq2seqConfig, reads={Text, Pair}, needs={Capability.SOURCE_TARGET}, lr=1e-3, data="python_docs"
)
class Seq2seq(Objective[Seq2seqConfig, Seq2seqBatch]):
    """Learns p(target | source); the loss is a mean over target tokens."""

    def __init__(self, config: Seq2seqConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            not tools.intra_document, "data.intra_document has no effect: a row is a single text"
        )
        self.corrupt: Corruption = build(config.corruption, tools.tokenizer)
        for measure in config.measures:
            similarity(measure)  # fails early if it is unavailable

    @cached_property
    def n_raw_tokens(self) -> int:
        """Text tokens of a row before its corruption."""
        return self.corrupt.raw_length(self.tools.seq_len)

    def select_samples(self, samples: Samples) -> Samples:
        """Resizes rows of text so that corrupted rows need no padding; counts truncated pairs."""
        if isinstance(samples, TokenRows):
            return samples.without_bos_eos(self.n_raw_tokens)
        self._refuse_corruption()
        pairs = [self._encode_pair(samples[i]) for i in range(len(samples))]
        for side, rows in (
            ("sources", [e.source for e in pairs]),
            ("targets", [e.target for e in pairs]),
        ):
            if n := sum(len(ids) > self.tools.seq_len for ids in rows):
                self.lost[f"{side} truncated"] += n
        return samples

    def _refuse_corruption(self) -> None:
        (slot,) = (item for item in fields(self.config) if item.name == "corruption")
        plugin = plugin_of(self.config.corruption)
        is_default = plugin.address.endswith(f"/{slot.metadata['option']}")
        if not is_default or self.config.corruption != plugin.config():
            raise ConfigError(
                f"{plugin.address} has no effect: pairs are not corrupted.\n"
                "  Remove objective.corruption, or choose data of raw text."
            )

    def _encode_pair(self, pair: Pair) -> DenoisingExample:
        """Encodes both sides without truncation."""
        vocab = self.tools.tokenizer.vocab
        sides = self.tools.tokenizer.encode_batch([pair.source, pair.target])
        source, target = (vocab.source(side.tolist()) for side in sides)
        return DenoisingExample(source, target, float(len(pair.target.encode())), True)

    def example(self, record: TokenRow | Pair, rng: np.random.Generator) -> DenoisingExample:
        if isinstance(record, Pair):
            whole = self._encode_pair(record)
            end = self.tools.seq_len
            return replace(whole, source=whole.source[:end], target=whole.target[:end])
        vocab = self.tools.tokenizer.vocab
        text = record.tokens[~np.isin(record.tokens, list(vocab.special))]
        source, target = self.corrupt(text[: self.n_raw_tokens], rng)
        return DenoisingExample(
            vocab.source(source.tolist()), vocab.source(target.tolist()), record.n_bytes
        )

    def collate(self, examples: Sequence[DenoisingExample]) -> Seq2seqBatch:
        targets = self.network.answer([(e.source, e.target) for e in examples])
        n_bytes = torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64)
        return Seq2seqBatch(targets, n_bytes)

    def held_out_batch(
        self, records: Sequence[TokenRow | Pair], rngs: Sequence[np.random.Generator]
    ) -> Seq2seqBatch:
        examples = [self.example(*pair) for pair in zip(records, rngs, strict=True)]
        batch = self.collate(examples)
        pairs = [e for e in examples if e.is_pair]
        batch.prompts = HeldOutPrompts([(e.source, e.target) for e in pairs]) if pairs else None
        return batch

    def evaluate(self, batch: Seq2seqBatch) -> tuple[Loss, float]:
        loss = self.loss(batch)
        config = self.config
        scores = score_answers(self, batch.prompts, config.max_new_tokens, config.measures)
        return Loss(loss.total, {**loss.metrics, **scores}), self.count(batch)

    def count(self, batch: Seq2seqBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: Seq2seqBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        ids = targets.ids[targets.where]
        nll, total = smoothed_loss(logits, ids, self.config.label_smoothing)
        return Loss(total, {"nll": nll.detach()})

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return {
            **average_measures(means, self.config.measures),
            "perplexity": perplexity(means["nll"]),
        }

    def show(self, records: Sequence[TokenRow | Pair]) -> list[str]:
        longest = min(self.config.max_new_tokens, self.tools.seq_len)
        if longest == 0:
            return []
        examples = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        written = self.continuations([e.source for e in examples], longest)
        sources = ["".join(self.tools.tokenizer.pieces(e.source)) for e in examples]
        return [f"{s} [...] {w}" for s, w in zip(sources, written, strict=True)]
