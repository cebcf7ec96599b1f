"""Which message each token of a row belongs to, for a person to read."""

from collections.abc import Iterator, Sequence

import numpy as np

from etude.data import Tokenizer, message_labels

from .conversations import TrainingSpan


def labels_of(spans: Sequence[TrainingSpan], tokenizer: Tokenizer) -> list[str]:
    """The message of each token of a row's spans, such as `2 assistant`; empty if unknown."""
    return [label for span in spans for label in _labels(span, tokenizer)]


def _labels(span: TrainingSpan, tokenizer: Tokenizer) -> Iterator[str]:
    n = len(span.ids)
    if span.origin is not None:
        chats, i = span.origin
        ids, labels = message_labels(tokenizer, chats[i])
        if np.array_equal(ids[:n], span.ids):  # not an answer that the template writes differently
            yield from labels[:n]
            return
    yield from [""] * n
