"""Tokenised raw text: a flat file of tokens on disk, and the indexing that cuts it into rows.

Each document is its text in the tokenizer's frame, `vocab.document`. Packed, row i covers the
tokens [i T, i T + T]: rows overlap by one token, so every token of the stream except the first is
predicted exactly once.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from etude.config.schema.plugins import TextDataConfig
from etude.data.record_file import RecordFile, texts_of
from etude.data.source import Samples
from etude.data.tokenizer import Ids, Tokenizer
from etude.data.vocab import Vocab

BATCH_CHARS = 2**18


@dataclass
class TokenRow:
    """One tokenised sample of raw text: a packed row, or a single truncated document.

    `documents` is the number of each token's document in the row, from 1. `n_bytes` is the share
    of the text's UTF-8 bytes that belongs to the tokens this row predicts (all except its first
    and the first of each document), so the sum over all rows is the size of the text.
    """

    tokens: Int[np.ndarray, " seq"]
    documents: Int[np.ndarray, " seq"]
    n_bytes: float


def cut_row(row: TokenRow, length: int) -> list[TokenRow]:
    """Cuts a row into rows that predict `length` tokens each; the last may be shorter.

    As in a packed text, they overlap by one token: together they predict the same tokens. Each has
    the share of the row's bytes that belongs to its own.
    """
    predicted = row.documents[1:] == row.documents[:-1]
    starts = range(0, max(1, len(predicted)), length)
    shares = [predicted[i : i + length].sum() / max(1, predicted.sum()) for i in starts]
    return [
        TokenRow(
            row.tokens[i : i + length + 1],
            row.documents[i : i + length + 1] - row.documents[i] + 1,
            row.n_bytes * float(share),
        )
        for i, share in zip(starts, shares, strict=True)
    ]


def encoded(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[tuple[str, Ids]]]:
    """Batches of texts with their ids; all cores encode the next ones while the caller uses one."""
    waiting: deque[tuple[list[str], Future[list[Ids]]]] = deque()
    with ThreadPoolExecutor(2) as encoder:
        for batch in _batches(texts):
            waiting.append((batch, encoder.submit(tokenizer.encode_batch, batch)))
            if len(waiting) > 2:
                done, ids = waiting.popleft()
                yield [*zip(done, ids.result(), strict=True)]
        for done, ids in waiting:
            yield [*zip(done, ids.result(), strict=True)]


@dataclass(frozen=True)
class Tokens:
    """Consecutive documents: their tokens as in the file, and the sizes of each."""

    content: bytes
    n_tokens: "array[int]"
    """Tokens of each document, with those around its text."""
    n_bytes: "array[int]"
    """UTF-8 bytes of the text of each document."""


def tokens_of(pairs: Iterable[tuple[str, Ids]], vocab: Vocab) -> Tokens:
    """The tokens of texts, given with their ids, in the tokenizer's frame."""
    width = np.uint16 if vocab.size <= 2**16 else np.uint32
    opening, closing = (np.array(one, dtype=width).tobytes() for one in frame_of(vocab))
    n_around = sum(map(len, frame_of(vocab)))
    content = bytearray()
    n_tokens, n_bytes = array("q"), array("q")
    for text, ids in pairs:
        content += opening + ids.astype(width).tobytes() + closing
        n_tokens.append(len(ids) + n_around)
        n_bytes.append(len(text.encode()))
    return Tokens(bytes(content), n_tokens, n_bytes)


def frame_of(vocab: Vocab) -> tuple[list[int], list[int]]:
    """The ids before and after the text of each document."""
    n = len(vocab.opening)
    return vocab.document(())[:n], vocab.document(())[n:]


@dataclass(frozen=True)
class PartEncoder:
    """Encodes the texts of a part of a RecordFile."""

    records: RecordFile
    tokenizer: Tokenizer

    def __call__(self, blocks: range) -> list[Tokens]:
        texts = chain.from_iterable(map(texts_of, self.records.records_in(blocks)))
        batches = ((one, self.tokenizer.encode_batch(one)) for one in _batches(texts))
        return [tokens_of(zip(*one, strict=True), self.tokenizer.vocab) for one in batches]


def write_tokens(texts: Iterable[str], tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the tokens of texts, as `write_parts` does."""
    vocab = tokenizer.vocab
    write_parts((tokens_of(batch, vocab) for batch in encoded(texts, tokenizer)), vocab, folder)


def write_parts(parts: Iterable[Tokens], vocab: Vocab, folder: Path) -> None:
    """Writes `tokens`, `starts.npy` (document offsets and end), `sizes.npy` (UTF-8 bytes).

    `frame.npy` has the numbers of tokens before and after the text of each document.
    """
    n_tokens, n_bytes = array("q", [0]), array("q")
    with (folder / "tokens").open("wb") as tokens:
        for part in parts:
            tokens.write(part.content)
            n_tokens += part.n_tokens
            n_bytes += part.n_bytes
    np.save(folder / "frame.npy", np.array([*map(len, frame_of(vocab))]))
    np.save(folder / "starts.npy", np.cumsum(n_tokens, dtype=np.int64))
    np.save(folder / "sizes.npy", np.array(n_bytes, dtype=np.int64))


class TokenRows:
    """The rows of one side of the split: packed, or one truncated document each."""

    def __init__(self, folder: Path, config: TextDataConfig) -> None:
        self._arguments = (folder, config)
        self._starts = np.load(folder / "starts.npy", mmap_mode="r")
        width = (folder / "tokens").stat().st_size // int(self._starts[-1])
        self._tokens = np.memmap(folder / "tokens", dtype=f"u{width}", mode="r")
        self._sizes = np.load(folder / "sizes.npy", mmap_mode="r")
        self._n_around: tuple[int, int] = tuple(np.load(folder / "frame.npy").tolist())
        self._stride = config.seq_len
        self._pack = config.pack

    @property
    def n_documents(self) -> int:
        """Number of documents in the text."""
        return len(self._sizes)

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the text, including `bos` and `eos`."""
        return len(self._tokens)

    @property
    def n_bytes(self) -> int:
        """Size of the text in UTF-8 bytes."""
        return int(self._sizes.sum())

    @property
    def n_cut(self) -> tuple[int, int]:
        """Number of documents that end in no row, and of their tokens that no row has."""
        beyond = np.maximum(0, np.diff(self._starts) - (self._stride + 1))
        return (0, 0) if self._pack else (int((beyond > 0).sum()), int(beyond.sum()))

    def __len__(self) -> int:
        return -(-(self.n_tokens - 1) // self._stride) if self._pack else self.n_documents

    def __getitem__(self, index: int) -> TokenRow:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start = index * self._stride
        end = self.n_tokens
        if not self._pack:
            start = int(self._starts[index])
            end = int(self._starts[index + 1])
        end = min(end, start + self._stride + 1)
        first, last = np.searchsorted(self._starts, (start, end - 1), side="right") - 1
        bounds = self._starts[first : last + 2]
        inside = np.clip(bounds, start, end)
        n_predicted = inside[1:] - np.maximum(bounds[:-1], start) - 1
        n_sized = np.diff(bounds) - min(1, self._n_around[0])  # the first token may be text
        shares = self._sizes[first : last + 1] * n_predicted / n_sized
        return TokenRow(
            tokens=np.asarray(self._tokens[start:end], dtype=np.int64),
            documents=np.repeat(np.arange(1, len(inside)), np.diff(inside)),
            n_bytes=float(shares.sum()),
        )

    def without_bos_eos(self, length: int) -> Samples:
        """Rows of `length` text tokens without bos and eos if packed; else the rows unchanged."""
        if not self._pack:
            return self
        return _TextRows(self._tokens, self._starts, self._sizes, self._n_around, length)

    def __reduce__(self) -> tuple[Callable[..., "TokenRows"], tuple[Any, ...]]:
        """Pickles the path of the file, not its content, for data loader workers."""
        return TokenRows, self._arguments


@dataclass(frozen=True)
class _TextRows:
    """Concatenated documents without bos and eos, cut into equal rows; the last may be shorter.

    `n_bytes` of a row is the share of the text's bytes that belongs to its tokens.
    """

    tokens: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    n_around: tuple[int, int]
    length: int

    @cached_property
    def offsets(self) -> Int[np.ndarray, " documents+1"]:
        """Offset of each document in the concatenated text, and the end of the last one."""
        return np.concatenate(([0], np.cumsum(np.diff(self.starts) - sum(self.n_around))))

    def __len__(self) -> int:
        return max(1, -(-int(self.offsets[-1]) // self.length))

    def __getitem__(self, index: int) -> TokenRow:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start = index * self.length
        end = min(start + self.length, int(self.offsets[-1]))
        first, last = np.searchsorted(self.offsets, (start, end - 1), side="right") - 1
        parts: list[np.ndarray] = []
        n_bytes = 0.0
        for d in range(first, last + 1):
            begin = int(self.offsets[d])
            size = int(self.offsets[d + 1] - self.offsets[d])
            inside = slice(max(0, start - begin), min(size, end - begin))
            offset = int(self.starts[d]) + self.n_around[0]
            parts.append(self.tokens[offset + inside.start : offset + inside.stop])
            n_bytes += float(self.sizes[d]) * len(parts[-1]) / max(1, size)
        documents = np.repeat(np.arange(1, len(parts) + 1), [len(part) for part in parts])
        return TokenRow(np.concatenate(parts).astype(np.int64), documents, n_bytes)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Batches of about BATCH_CHARS characters: enough for all cores, little enough for memory.

    `tokenizers` needs about 150 bytes of memory for each token of a batch.
    """
    batch: list[str] = []
    n_chars = 0
    for text in texts:
        batch.append(text)
        n_chars += len(text)
        if n_chars >= BATCH_CHARS:
            yield batch
            batch = []
            n_chars = 0
    if batch:
        yield batch
