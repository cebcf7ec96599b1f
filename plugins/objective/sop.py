"""Sentence-order prediction: fills masks, and predicts whether two segments were swapped.

Lan et al. 2019 (ALBERT), https://arxiv.org/abs/1909.11942, section 3.1: [cls] A [sep] B [sep], two
consecutive segments of one text, swapped half of the time; a dense layer, tanh and a linear map
predict the order from the state of [cls]. The two losses are added, as in BERT.
Each document of a packed row is a separate text. It is cut after a uniformly random sentence except
the last, or anywhere if it has only one.
Normalisation: the loss is a sum over text tokens. A text's loss is the mean over its masked tokens
plus that of its order, weighted by its tokens, so short texts do not dominate.
Deviations: no n-gram masks (`objective/masking` has spans of words); no short sequences on purpose;
the last layer of the head starts at 0, so its loss starts at ln 2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude import Capability, Text, option, plugin, require
from etude.config import ArchitectureConfig, MaskingConfig, StackConfig, build
from etude.data import Tokenizer, TokenRow
from etude.network import Network, Targets, pad_right, to_fp32
from etude.objective import (
    SAMPLE,
    Loss,
    Objective,
    ObjectiveContext,
    document_tokens,
    rng,
    row_means,
)

from ._binary_head import BinaryHead
from ._masking import MaskedConfig, Masking, mask


@dataclass
class SopConfig(MaskedConfig):
    masking: MaskingConfig = option("token")
    order_weight: float = 1.0
    """Weight of the sentence-order loss relative to the loss of masked tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.order_weight > 0, f"order_weight must be positive, got {self.order_weight}")

    @property
    def around(self) -> tuple[str, str]:
        return "cls", "sep"

    def check(self, architecture: ArchitectureConfig) -> None:
        n = architecture.n_segments if isinstance(architecture, StackConfig) else 0
        require(
            n >= 2,
            f"it needs embeddings for two segments, and architecture.n_segments={n}.\n"
            "  Set architecture.n_segments=2; architecture=bert and albert have them already",
        )


@dataclass
class SopExample:
    """A pair of segments, masked and original, special tokens included."""

    masked: Int[np.ndarray, " seq"]
    original: Int[np.ndarray, " seq"]
    selected: Bool[np.ndarray, " seq"]
    segments: Int[np.ndarray, " seq"]
    swapped: bool


@dataclass
class SopBatch:
    """Masked tokens to predict, whether each row's segments were swapped, and its text tokens."""

    targets: Targets
    swapped: Bool[Tensor, " batch"]
    n_text: Float[Tensor, " batch"]


def split_text(
    text: Int[np.ndarray, " n"], tokenizer: Tokenizer, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Cuts a text of at least two tokens in two, after a sentence if it has several."""
    ends = tokenizer.sentence_ends(text)[:-1]
    place = rng.choice(ends) if len(ends) else rng.integers(1, len(text))
    return text[:place], text[place:]


@plugin(
    SopConfig,
    reads={Text},
    needs={Capability.BOTH_SIDES, Capability.HIDDEN},
    lr=1e-3,
    data="python_docs",
    tokens={"mask", "cls", "sep"},
)
class Sop(Objective[SopConfig, SopBatch]):
    """Learns p(masked token | the others) and p(swapped | both segments)."""

    unit = "text tokens"

    def __init__(self, config: SopConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(tools.seq_len >= 5, f"data.seq_len must be at least 5, got {tools.seq_len}")
        require(
            not tools.intra_document,
            "data.intra_document has no effect: each document is a separate sequence",
        )
        self.n_text = tools.seq_len - 3  # a row has [CLS] and two [SEP]
        self.select: Masking = build(config.masking, tools.tokenizer)
        self.order = BinaryHead(network.dim, nn.Tanh())

    def cuts(self, sample: TokenRow) -> Iterator[str]:
        for text, _ in document_tokens(sample, self.tools.tokenizer.vocab):
            if len(text) == 1:
                yield "texts of one token, which have no two segments"
            elif len(text) > self.n_text:
                yield "texts cut to leave room for [CLS] and [SEP]"

    def example(self, record: TokenRow, rng: np.random.Generator) -> list[SopExample]:
        documents = document_tokens(record, self.tools.tokenizer.vocab)
        texts = [text[: self.n_text] for text, _ in documents if len(text) > 1]
        return [self.pair(text, rng) for text in texts]

    def pair(self, text: Int[np.ndarray, " n"], rng: np.random.Generator) -> SopExample:
        """Cuts a text, swaps its segments half of the time, and masks tokens."""
        vocab = self.tools.tokenizer.vocab
        first, second = split_text(text, self.tools.tokenizer, rng)
        swapped = bool(rng.random() < 0.5)
        if swapped:
            first, second = second, first
        tokens = np.array([vocab.cls, *first, vocab.sep, *second, vocab.sep])
        masked, selected = mask(tokens, self.tools.tokenizer, self.select, self.config, rng)
        segments = (np.arange(len(tokens)) > len(first) + 1).astype(np.int64)
        return SopExample(masked, tokens, selected, segments, swapped)

    def collate(self, examples: Sequence[list[SopExample]]) -> SopBatch:
        vocab = self.tools.tokenizer.vocab
        start = np.array([vocab.cls])
        none = np.zeros(1, np.int64)
        blank = SopExample(start, start, none > 0, none, swapped=False)
        pairs = [pair for example in examples for pair in example] or [blank]
        inputs = pad_right([p.masked.tolist() for p in pairs], vocab.pad)
        inputs.segments = pad_right([p.segments.tolist() for p in pairs], 0).tokens
        ids = pad_right([p.original.tolist() for p in pairs], vocab.pad).tokens
        where = pad_right([p.selected.tolist() for p in pairs], 0).tokens.bool()
        n_text = torch.tensor([float(max(0, len(p.original) - 3)) for p in pairs])
        swapped = torch.tensor([p.swapped for p in pairs])
        return SopBatch(Targets(inputs, ids, where), swapped, n_text)

    def count(self, batch: SopBatch) -> float:
        return float(batch.n_text.sum())

    def loss(self, batch: SopBatch) -> Loss:
        where = batch.targets.where
        weights = batch.n_text
        states = self.network.states(batch.targets.inputs)
        logits = to_fp32(self.network.logits(states[where]))
        ids = batch.targets.ids[where]
        weights = weights.to(logits)
        is_correct = (logits.argmax(-1) == ids).to(logits)
        nll = row_means(F.cross_entropy(logits, ids, reduction="none"), where) @ weights
        scores = self.order(states[:, 0])
        labels = batch.swapped.to(scores)
        order = F.binary_cross_entropy_with_logits(scores, labels, reduction="none") @ weights
        metrics = {
            "mlm_loss": nll.detach(),
            "order_loss": order.detach(),
            "accuracy": row_means(is_correct, where) @ weights,
            "order_accuracy": ((scores > 0) == batch.swapped).to(weights) @ weights,
        }
        return Loss(nll + self.config.order_weight * order, metrics)

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        return [self._described_pair(record, i) for i, record in enumerate(records)]

    def _described_pair(self, record: TokenRow, number: int) -> str:
        """The first pair of a row, whether it was swapped, and the prediction."""
        pairs = self.example(record, rng(self.tools.seed, SAMPLE, number))[:1]
        batch = self.transfer_batch_to_device(self.collate([pairs]), self.device, 0)
        predicted = bool(self.order(self.network.states(batch.targets.inputs)[:, 0])[0] > 0)
        words = {True: "swapped", False: "in order"}
        text = "".join(self.tools.tokenizer.pieces(batch.targets.inputs.tokens[0].tolist()))
        return f"{text} [...] {words[bool(batch.swapped[0])]}, predicted {words[predicted]}"
