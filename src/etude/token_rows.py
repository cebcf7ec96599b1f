"""Raw text as rows of ids: a flat file of tokens on disk, and the arithmetic that cuts it.

Each document is `bos`, its text, `eos`. Packed, row i covers the tokens [i T, i T + T]: rows
overlap by one token, so that every token of the stream but the first is predicted exactly once.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from etude.contracts import TokenRow
from etude.schema import TextDataConfig
from etude.tokenizer import Tokenizer

BATCH_CHARS = 1_000_000


def write_tokens(texts: Iterable[str], tokenizer: Tokenizer, folder: Path) -> None:
    """Writes `tokens`, `starts.npy` (of documents, and the end) and `sizes.npy` (UTF-8 bytes)."""
    vocab = tokenizer.vocab
    width = np.uint16 if vocab.size <= 2**16 else np.uint32
    starts, sizes = array("q", [0]), array("q")
    with (folder / "tokens").open("wb") as tokens:
        for batch in _batches(texts):
            for text, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
                document = np.concatenate(([vocab.bos], ids, [vocab.eos]))
                tokens.write(document.astype(width).tobytes())
                starts.append(starts[-1] + len(document))
                sizes.append(len(text.encode()))
    np.save(folder / "starts.npy", np.array(starts, dtype=np.int64))
    np.save(folder / "sizes.npy", np.array(sizes, dtype=np.int64))


class TokenRows:
    """The rows of one split: packed, or one truncated document each."""

    def __init__(self, folder: Path, config: TextDataConfig) -> None:
        self._made_of = (folder, config)
        self._starts = np.load(folder / "starts.npy", mmap_mode="r")
        width = (folder / "tokens").stat().st_size // int(self._starts[-1])
        self._tokens = np.memmap(folder / "tokens", dtype=f"u{width}", mode="r")
        self._sizes = np.load(folder / "sizes.npy", mmap_mode="r")
        self._stride = config.seq_len
        self._pack = config.pack

    @property
    def n_documents(self) -> int:
        """Documents behind the rows."""
        return len(self._sizes)

    @property
    def n_tokens(self) -> int:
        """Tokens behind the rows, `bos` and `eos` included."""
        return len(self._tokens)

    @property
    def n_bytes(self) -> int:
        """UTF-8 bytes of the text behind the rows."""
        return int(self._sizes.sum())

    def __len__(self) -> int:
        return -(-(self.n_tokens - 1) // self._stride) if self._pack else self.n_documents

    def __getitem__(self, index: int) -> TokenRow:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start, end = (index * self._stride, self.n_tokens)
        if not self._pack:
            start, end = int(self._starts[index]), int(self._starts[index + 1])
        end = min(end, start + self._stride + 1)
        first, last = np.searchsorted(self._starts, (start, end - 1), side="right") - 1
        bounds = self._starts[first : last + 2]
        inside = np.clip(bounds, start, end)
        n_predicted = inside[1:] - np.maximum(bounds[:-1], start) - 1
        shares = self._sizes[first : last + 1] * n_predicted / (np.diff(bounds) - 1)
        return TokenRow(
            tokens=np.asarray(self._tokens[start:end], dtype=np.int64),
            documents=np.repeat(np.arange(1, len(inside)), np.diff(inside)),
            n_bytes=float(shares.sum()),
        )

    def __reduce__(self) -> tuple[Callable[..., "TokenRows"], tuple[Any, ...]]:
        """Loader workers get the file's place, not its content."""
        return TokenRows, self._made_of


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Enough text for all cores at a time, and no more in memory."""
    batch: list[str] = []
    n_chars = 0
    for text in texts:
        batch.append(text)
        n_chars += len(text)
        if n_chars >= BATCH_CHARS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch
