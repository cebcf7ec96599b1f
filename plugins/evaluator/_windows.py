"""Log-probabilities of whole documents, which are longer than data.seq_len, in windows.

Every token is predicted once, after a context of the tokens before it, as in transformers' guide on
the perplexity of fixed-length models. The first token follows what the tokenizer writes before a
text (bos), or eos.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from etude import Text, require
from etude.config import EvaluatorConfig
from etude.evaluation import Case, Continuation, Evaluator, Item, Metric, rounded


@dataclass
class WindowsConfig(EvaluatorConfig):
    context_fraction: float = 0.5
    """Part of a window that is context only, except at the start of a document; [0, 1). More is
    slower and nearer to an unlimited context. Typical: 0.5."""

    def __post_init__(self) -> None:
        require(
            0 <= self.context_fraction < 1,
            f"context_fraction must be in [0, 1), got {self.context_fraction}",
        )


C = TypeVar("C", bound=WindowsConfig)


class Windows(Evaluator[C, Text]):
    """Sums of each document: nats, tokens and bytes."""

    @property
    @abstractmethod
    def metrics(self) -> Sequence[Metric]: ...

    def questions(self, cases: Sequence[Case[Text]]) -> Iterator[Sequence[int]]:
        subject = self.context.subject
        for case in cases:
            ids = subject.model.tokenizer.encode(case.record.text).tolist()
            yield [*subject.network.vocab.prompt([]), *ids]

    def evaluate(self, cases: Sequence[Case[Text]]) -> Sequence[Item]:
        n_before = len(self.context.subject.network.vocab.prompt([]))
        windows = [list(self._windows(ids, n_before)) for ids in self.questions(cases)]
        found = iter(self.context.subject.log_probs([one for some in windows for one in some]))
        return [
            self._item(case, [x for _ in some for x in next(found)])
            for case, some in zip(cases, windows, strict=True)
        ]

    def _item(self, case: Case[Text], log_probs: Sequence[float]) -> Item:
        values = {
            "nats": rounded(-math.fsum(log_probs)),
            "tokens": float(len(log_probs)),
            "bytes": float(len(case.record.text.encode())),
        }
        return Item(case.id, values)

    def _windows(self, ids: Sequence[int], n_before: int) -> Iterator[Continuation]:
        """Yields windows of at most seq_len tokens, which predict each token of the text once."""
        size = self.context.seq_len
        n_context = min(size - 1, max(1, round(size * self.config.context_fraction)))
        start, read, end = 0, n_before, min(size, len(ids))
        while read < len(ids):
            yield Continuation(ids[start:read], ids[read:end])
            read = end
            start = end - n_context
            end = min(start + size, len(ids))
