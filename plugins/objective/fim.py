"""Fill in the middle: rearranges documents so that a causal network learns to fill a gap.

Bavarian et al. 2022, https://arxiv.org/abs/2207.14255, section 3. A document, cut at two random
places, is written as prefix, suffix, middle (PSM) or suffix, prefix, middle (SPM, their variant 2):

    PSM  bos <prefix> prefix <suffix> suffix <middle> middle eos
    SPM  bos <prefix> <suffix> suffix <middle> prefix middle eos

The markers are the first three sentinels, in that order; the loss is on every token, as in the
paper. Rearrangement acts on the part of a document that is in the row (context-level, which they
found to be better); tokens at the row's end make room for the markers. Deviation: cuts fall between
tokens, where the paper cuts between characters and re-encodes the parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch.nn.functional as F
from jaxtyping import Int

from etude import Capability, Text, only_with, plugin, require
from etude.config import ObjectiveConfig
from etude.data import TokenRow, Vocab
from etude.network import Network, to_fp32
from etude.objective import (
    Loss,
    Objective,
    ObjectiveContext,
    TextBatch,
    next_token_batch,
    perplexity,
)

N_MARKERS = 3
SHORTEST = 8
"""Length of the shortest row in tokens: bos, markers, eos, and one token per part."""


@dataclass
class FimConfig(ObjectiveConfig):
    fim_rate: float = 0.5
    """Fraction of the documents to rearrange, in [0, 1]."""
    spm_rate: float = only_with("fim_rate>0", 0.5)
    """Fraction of those with the suffix first (SPM), in [0, 1]; the rest is PSM."""

    def __post_init__(self) -> None:
        for name in ("fim_rate", "spm_rate"):
            value = vars(self)[name]
            require(0 <= value <= 1, f"{name} must be in [0, 1], got {value}")


class Order(Enum):
    """Order of the parts before the middle."""

    PSM = "prefix, suffix"
    SPM = "suffix, prefix"


def text_slice(document: Int[np.ndarray, " n"], vocab: Vocab) -> slice:
    """Slice of the text of a document, or of a part of it: without bos and eos, if present.

    bos and eos may be the same token, as in GPT-2.
    """
    n_opening = len(vocab.opening)
    first = n_opening * (document[:n_opening].tolist() == [*vocab.opening])
    last = len(document) > first and document[-1] == vocab.eos
    return slice(first, len(document) - int(last))


def rearrange(
    document: Int[np.ndarray, " n"], cuts: Int[np.ndarray, "2"], order: Order, vocab: Vocab
) -> Int[np.ndarray, " n+3"]:
    """Returns a document with its middle, the text between the two cuts, moved to the end."""
    text = text_slice(document, vocab)
    pre, suf, mid = ([sentinel] for sentinel in vocab.sentinels[:N_MARKERS])
    prefix, middle, suffix = np.split(document[text], cuts)
    psm = (pre, prefix, suf, suffix, mid)
    spm = (pre, suf, suffix, mid, prefix)
    moved = (*(psm if order is Order.PSM else spm), middle)
    return np.concatenate((document[: text.start], *moved, document[text.stop :]))


def rearranged_row(
    row: TokenRow, room: int, config: FimConfig, vocab: Vocab, rng: np.random.Generator
) -> TokenRow:
    """Returns a row of at most `room` tokens in which some documents are rearranged."""
    parts: list[Int[np.ndarray, " n"]] = []
    for number in np.unique(row.documents):
        document = row.tokens[row.documents == number]
        left = room - sum(map(len, parts))
        inside = document[: max(0, left - N_MARKERS)]
        text = text_slice(inside, vocab)
        n_text = text.stop - text.start
        if n_text > 0 and rng.random() < config.fim_rate:
            order = Order.SPM if rng.random() < config.spm_rate else Order.PSM
            cuts = np.sort(rng.integers(0, n_text + 1, 2))
            parts.append(rearrange(inside, cuts, order, vocab))
        else:
            parts.append(document[:left])
    documents = np.repeat(np.arange(1, len(parts) + 1), [len(part) for part in parts])
    return TokenRow(np.concatenate(parts), documents, row.n_bytes)


@plugin(
    FimConfig,
    reads={Text},
    needs={Capability.NEXT_TOKEN},
    lr=1e-3,
    data="python_docs",
    tokens={"sentinels"},
)
class Fim(Objective[FimConfig, TextBatch]):
    """Learns p(token | previous tokens), with the middle last in some documents."""

    def __init__(self, config: FimConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            tools.seq_len >= SHORTEST,
            f"data.seq_len must be at least {SHORTEST}, got {tools.seq_len}: a row has bos, eos, "
            f"{N_MARKERS} markers and one token per part",
        )
        require(
            len(tools.tokenizer.vocab.sentinels) >= N_MARKERS,
            f"it needs {N_MARKERS} sentinel tokens, and the tokenizer has "
            f"{len(tools.tokenizer.vocab.sentinels)}",
        )

    def cuts(self, sample: TokenRow) -> Iterable[str]:
        is_cut = (
            self.config.fim_rate > 0 and len(sample.tokens) + N_MARKERS > self.tools.seq_len + 1
        )
        return ["rows whose last tokens make room for markers"] if is_cut else []

    def example(self, record: TokenRow, rng: np.random.Generator) -> TokenRow:
        room = self.tools.seq_len + 1  # one more, for next-token targets
        return rearranged_row(record, room, self.config, self.tools.tokenizer.vocab, rng)

    def collate(self, examples: Sequence[TokenRow]) -> TextBatch:
        return next_token_batch(
            examples, self.tools.tokenizer.vocab.pad, intra_document=self.tools.intra_document
        )

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        return Loss(F.cross_entropy(logits, targets.ids[targets.where], reduction="sum"))

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return {**means, "perplexity": perplexity(means["loss"])}

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        vocab = self.tools.tokenizer.vocab
        decode = self.tools.tokenizer.decode
        n_new = self.tools.seq_len // 4
        pre, suf, mid = vocab.sentinels[:N_MARKERS]
        gaps: list[tuple[list[int], list[int]]] = []
        for row in records:
            text = row.tokens[~np.isin(row.tokens, list(vocab.special))]
            text = text[: self.tools.seq_len - n_new - 1 - N_MARKERS].tolist()
            third = len(text) // 3
            gaps.append((text[:third], text[len(text) - third :]))
        prompts = [vocab.prompt([pre, *before, suf, *after, mid]) for before, after in gaps]
        written = self.continuations(prompts, n_new)
        return [
            f"{decode(b)} [...] {w} [...] {decode(a)}"
            for (b, a), w in zip(gaps, written, strict=True)
        ]
