"""Bits per byte of held-out text: a loss that models with different tokenizers share.

Gao et al. 2020 (The Pile), https://arxiv.org/abs/2101.00027, section 3.1. A document that is longer
than data.seq_len is read in windows, each after a context of the tokens before it, so that every
token is predicted once (as transformers' guide on fixed-length models).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Text, plugin, require
from etude.config import EvaluatorConfig
from etude.evaluation import Case, Continuation, Evaluator, Item, Metric, rounded


@dataclass
class BitsPerByteConfig(EvaluatorConfig):
    context_fraction: float = 0.5
    """Part of a window that is context only, except at the start of a document; [0, 1). More is
    slower and nearer to an unlimited context. Typical: 0.5."""

    def __post_init__(self) -> None:
        require(
            0 <= self.context_fraction < 1,
            f"context_fraction must be in [0, 1), got {self.context_fraction}",
        )


METRICS = (
    Metric("bits_per_byte", "nats", "bytes", 1 / math.log(2), higher_is_better=False),
    Metric(
        "perplexity",
        "nats",
        "tokens",
        exponential=True,
        higher_is_better=False,
        needs_same_tokenizer=True,
    ),
)


@plugin(BitsPerByteConfig, reads={Text})
class BitsPerByte(Evaluator[BitsPerByteConfig, Text]):
    """Bits per byte and perplexity of documents."""

    @property
    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def questions(self, cases: Sequence[Case[Text]]) -> Iterator[Sequence[int]]:
        vocab = self.context.subject.network.vocab
        for case in cases:
            ids = self.context.subject.model.tokenizer.encode(case.record.text)
            yield [*vocab.prompt([]), *ids.tolist()]

    def evaluate(self, cases: Sequence[Case[Text]]) -> Sequence[Item]:
        windows = [list(self._windows(ids)) for ids in self.questions(cases)]
        every = [window for some in windows for window in some]
        found = iter(self.context.subject.log_probs(every))
        items: list[Item] = []
        for case, some in zip(cases, windows, strict=True):
            log_probs = [x for _ in some for x in next(found)]
            values = {
                "nats": rounded(-math.fsum(log_probs)),
                "tokens": float(len(log_probs)),
                "bytes": float(len(case.record.text.encode())),
            }
            items.append(Item(case.id, values))
        return items

    def _windows(self, ids: Sequence[int]) -> Iterator[Continuation]:
        """Yields windows of at most seq_len tokens that predict each token after the first once."""
        size = self.context.seq_len
        n_context = max(1, round(size * self.config.context_fraction))
        start, end = 0, min(size, len(ids))
        read = 1
        while read < len(ids):
            yield Continuation(ids[start:read], ids[read:end])
            read = end
            start = end - n_context
            end = min(start + size, len(ids))
