"""Calls `tokenizers`, and reports what its files make it fail on: its Rust code may panic.

Patterns are matched by Oniguruma, which gives up after 10 million steps of backtracking.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Final

import numpy as np
import tokenizers
from jaxtyping import Int

from etude.data.tiktoken_encoder import Encode, tiktoken_encoder
from etude.errors import CheckpointError

BULK_CHARS: Final = 2**16
"""Fewer characters are encoded before a faster encoder is built."""


@contextmanager
def reported(what: str) -> Generator[None]:
    """Raises CheckpointError for an error or a panic of `tokenizers`."""
    try:
        yield
    except BaseException as error:  # the class of a panic is not exported
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise CheckpointError(f"{what}: {error}") from error
        raise


def encodings(inner: tokenizers.Tokenizer, texts: Sequence[str]) -> list[Int[np.ndarray, " seq"]]:
    """The ids of each text, without the tokens around it."""
    with reported("The tokenizer cannot encode a text"):
        found = inner.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int64) for encoding in found]


def character_spans(inner: tokenizers.Tokenizer, parts: Sequence[str]) -> Int[np.ndarray, "seq 2"]:
    """Start and end of each id, in characters of the joined parts, without white space around."""
    with reported("The tokenizer cannot encode a text"):
        found = inner.encode_batch(list(parts), add_special_tokens=False)
    spans: list[tuple[int, int]] = []
    before = 0
    for part, encoding in zip(parts, found, strict=True):
        for start, end in encoding.offsets:
            piece = part[start:end]
            start += len(piece) - len(piece.lstrip())
            spans.append((before + start, before + start + len(piece.strip())))
        before += len(part)
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


class BatchEncoder:
    """Returns what `encodings` returns; many texts faster, where another library can."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner

    def __call__(self, texts: Sequence[str]) -> list[Int[np.ndarray, " seq"]]:
        if sum(map(len, texts)) < BULK_CHARS or (fast := self._fast) is None:
            return encodings(self._inner, texts)
        found = [fast(text) for text in texts]
        left_out = iter(
            encodings(self._inner, [t for t, ids in zip(texts, found, strict=True) if ids is None])
        )
        return [next(left_out) if ids is None else ids for ids in found]

    @cached_property
    def _fast(self) -> Encode | None:
        with reported("The tokenizer cannot be read"):
            return tiktoken_encoder(self._inner)
