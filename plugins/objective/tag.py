"""Tagging: a label for each word, such as its part of speech, or spans of words in IOB2.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 5.3: the label of a word is
read from the state of its first sub-word; the others have none. The head is that of transformers'
classes for token classification, without dropout. A sentence longer than data.seq_len is cut into
windows between words. An encoder-decoder reads the text on both sides, and the state of a token is
that of the decoder (Lewis et al. 2019, https://arxiv.org/abs/1910.13461, section 3.2); transformers
uses the encoder of T5 alone. Spans are compared as by conlleval, over all held-out sentences.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude import Capability, DataError, Labelled, plugin, require
from etude.config import ObjectiveConfig
from etude.data import Samples
from etude.network import Inputs, Network, freeze_head, to_fp32
from etude.objective import HeadObjective, Ids, Loss, ObjectiveContext, Prediction, Query
from etude.rl import HEAD

from ._labels import label_names, labels_of, refuse_unknown
from ._output_head import OutputHead, Transform
from ._spans import span_metrics, span_sums, spans_of, tags_are_spans
from ._text_rows import TextRows
from ._words import joined, split_words, word_rows


class Subword(Enum):
    """Which sub-word of a word has its label."""

    first = "first"
    last = "last"


@dataclass
class TagConfig(ObjectiveConfig):
    labels: list[str] = field(default_factory=list[str])
    """The labels, in the order of the outputs; empty = those of the training data, sorted."""
    subword: Subword = Subword.first
    """Sub-word whose state the head reads: the first of a word, or the last, at which a decoder
    has read the whole word."""
    transform: Transform = Transform.none
    """Layer before the output layer: none; gelu = dense, GELU and a norm (ModernBERT); tanh = dense
    and tanh."""

    def __post_init__(self) -> None:
        different = len({*self.labels}) == len(self.labels) != 1
        require(different, f"labels must be at least two different names, got {self.labels}")


@dataclass
class TagExample:
    """The rows of a sentence; in each, the places of its words and the numbers of their labels."""

    rows: Sequence[Ids]
    places: Sequence[Sequence[int]]
    labels: Sequence[int]


@dataclass
class TagBatch:
    """Rows of tokens, the tokens that have a label, and for each its number and its sentence."""

    inputs: Inputs
    word: Bool[Tensor, "batch seq"]
    label: Int[Tensor, " word"]
    sentence: Int[Tensor, " word"]


@plugin(TagConfig, reads={Labelled}, needs={Capability.HIDDEN}, lr=1e-4, data="code_names")
class Tag(HeadObjective[TagConfig, TagBatch]):
    """Learns p(label of a word | its text) with a head on the state of the word."""

    unit = "words"
    exported_modules = (HEAD,)

    def __init__(self, config: TagConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.labels = label_names(config.labels, tools)
        self.numbers = {name: i for i, name in enumerate(self.labels)}
        self.has_spans = tags_are_spans(self.labels)
        self.texts = TextRows(tools)
        self.head = OutputHead(network.dim, len(self.labels), config.transform, bias=True)
        freeze_head(network)

    def select_samples(self, samples: Samples) -> Samples:
        for i in range(len(samples)):
            record: Labelled = samples[i]
            if not isinstance(record.text, tuple) or not isinstance(record.label, tuple):
                raise DataError(
                    f"objective=tag labels words, and {str(record.text)[:60]!r} is a text.\n"
                    "  Use objective=classify, or data/record=tags for lists of words."
                )
            refuse_unknown(record, self.labels)
        return samples

    def cuts(self, sample: Labelled) -> Iterable[str]:
        n = len(self._laid_out(sample.text).rows) - 1
        return ["cuts between words, as sentences are longer than data.seq_len"] * n

    def example(self, record: Labelled, rng: np.random.Generator) -> TagExample:
        labels = [self.numbers[name] for name in labels_of(record)]
        return replace(self._laid_out(record.text), labels=labels)

    def _laid_out(self, words: Sequence[str]) -> TagExample:
        """The rows of a sentence, whose words all have the first label."""
        which = -1 if self.config.subword is Subword.last else 0
        rows, places = word_rows(words, self.tools.tokenizer, self.tools.seq_len, which)
        return TagExample(rows, places, [0] * len(words))

    def collate(self, examples: Sequence[TagExample]) -> TagBatch:
        rows = [row for example in examples for row in example.rows]
        inputs = self.texts.inputs(self.network, [[row] for row in rows])
        word = torch.zeros(inputs.tokens.shape, dtype=torch.bool)
        for i, places in enumerate(places for e in examples for places in e.places):
            word[i, places] = True
        sizes = [sum(map(len, example.places)) for example in examples]
        sentence = torch.arange(len(examples)).repeat_interleave(torch.tensor(sizes))
        label = torch.tensor([label for example in examples for label in example.labels])
        return TagBatch(inputs, word, label, sentence)

    def token_labels(self, example: TagExample) -> Sequence[str]:
        names = iter([self.labels[label] for label in example.labels])
        pairs = zip(example.rows, example.places, strict=True)
        return [next(names) if i in at else "" for row, at in pairs for i in range(len(row))]

    def count(self, batch: TagBatch) -> float:
        return float(len(batch.label))

    def logits(self, batch: TagBatch) -> Float[Tensor, "word label"]:
        """The logits of the labels of each word, in order."""
        return self.head(to_fp32(self.network.states(batch.inputs)[batch.word]))

    def loss(self, batch: TagBatch) -> Loss:
        return self._loss(self.logits(batch), batch)

    def _loss(self, logits: Float[Tensor, "word label"], batch: TagBatch) -> Loss:
        right = (logits.detach().argmax(-1) == batch.label).sum()
        return Loss(F.cross_entropy(logits, batch.label, reduction="sum"), {"accuracy": right})

    def evaluate(self, batch: TagBatch) -> tuple[Loss, float]:
        logits = self.logits(batch)
        loss = self._loss(logits, batch)
        if self.has_spans:
            sides = [self._sentences(side, batch) for side in (logits.argmax(-1), batch.label)]
            sums = {k: loss.total.new_tensor(n) for k, n in span_sums(*sides).items()}
            loss = replace(loss, metrics={**loss.metrics, **sums})
        return loss, self.count(batch)

    def _sentences(self, labels: Int[Tensor, " word"], batch: TagBatch) -> list[list[str]]:
        """The tags of each sentence."""
        parts = labels.split(batch.sentence.bincount().tolist())
        return [[self.labels[int(i)] for i in part] for part in parts]

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return span_metrics(means)

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        texts: list[Sequence[str]] = [
            split_words(query.plain) if isinstance(query.text, str) else query.text
            for query in queries
        ]
        batch = self.collate([self._laid_out(words) for words in texts])
        batch = self.transfer_batch_to_device(batch, self.device, 0)
        rows = self.logits(batch).softmax(-1).split([len(words) for words in texts])
        return [self._answer(*pair) for pair in zip(texts, rows, strict=True)]

    def _answer(self, words: Sequence[str], chances: Float[Tensor, "word label"]) -> Prediction:
        best = chances.max(-1)
        tags = [self.labels[int(i)] for i in best.indices]
        columns = zip(words, tags, best.values.tolist(), strict=True)
        lines = [f"{word}\t{tag}\t{chance:.1%}" for word, tag, chance in columns]
        values: dict[str, Any] = {"words": [*words], "tags": tags}
        values["probabilities"] = best.values.tolist()
        if self.has_spans:
            values["spans"] = [
                {"label": label, "start": start, "end": end, "text": joined(words[start:end])[0]}
                for label, start, end in spans_of(tags)
            ]
            lines += [f"{span['label']}: {span['text']}" for span in values["spans"]]
        return Prediction(values, lines)

    def show(self, records: Sequence[Labelled]) -> list[str]:
        answers = self.predict([Query(record.text) for record in records])
        shown: list[str] = []
        for record, answer in zip(records, answers, strict=True):
            columns = zip(record.text, answer.values["tags"], labels_of(record), strict=True)
            words = (f"{word}/{tag}" + f"[{due}]" * (tag != due) for word, tag, due in columns)
            shown.append(" ".join(words))
        return shown
