"""Calls `tokenizers`, and reports what its files make it fail on: its Rust code may panic.

Patterns are matched by Oniguruma, which gives up after 10 million steps of backtracking.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import tokenizers
from jaxtyping import Int

from etude.errors import CheckpointError


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
