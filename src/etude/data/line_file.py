"""A compressed file of lines with random access: a gzip file of one member for each block of lines.

So `zcat` reads it as a whole, and one line costs the decompression of its block, under 1 ms.
BGZF of the SAM format works alike (https://samtools.github.io/hts-specs/SAMv1.pdf, section 4.1).
"""

import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

BLOCK_BYTES: Final = 2**16
"""Size of a block before compression; a longer line is a block of its own."""
_LEVEL: Final = 3
_GZIP: Final = 31  # zlib's window of 2**15 bytes, with the header of gzip


class LineWriter:
    """Writes lines to `<file>`, and the offset and first line of each block to `<file>.npy`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened = file.open("wb")
        self._block: list[bytes] = []
        self._n_bytes = 0
        self._index = array("q", [0, 0])

    def write(self, line: bytes) -> None:
        """Appends a line, which ends with its only newline."""
        if self._n_bytes + len(line) > BLOCK_BYTES:
            self._end_block()
        self._block.append(line)
        self._n_bytes += len(line)

    def close(self) -> None:
        """Writes the last block and the index."""
        self._end_block()
        self._opened.close()
        np.save(f"{self._file}.npy", np.array(self._index, dtype=np.int64).reshape(-1, 2))

    def _end_block(self) -> None:
        if self._block:
            compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
            self._opened.write(compressor.compress(b"".join(self._block)) + compressor.flush())
            self._index.extend((self._opened.tell(), self._index[-1] + len(self._block)))
            self._block, self._n_bytes = [], 0


class LineFile:
    """Reads the lines that a LineWriter wrote, without their line breaks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offsets, self._firsts = np.load(f"{file}.npy").T
        self._last: tuple[int, list[bytes]] = (-1, [])

    def __getitem__(self, number: int) -> bytes:
        block = int(np.searchsorted(self._firsts, number, side="right")) - 1
        last, lines = self._last
        if block != last:
            with self._file.open("rb") as opened:
                opened.seek(self._offsets[block])
                lines = _lines(opened.read(self._offsets[block + 1] - self._offsets[block]))
            self._last = block, lines
        return lines[number - self._firsts[block]]

    def __iter__(self) -> Iterator[bytes]:
        """Yields all lines, in one pass over the file."""
        return (line for _, line in self.lines(range(self.n_blocks)))

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self._firsts) - 1

    @property
    def n_bytes(self) -> int:
        """About the size of all lines, in bytes."""
        return self.n_blocks * BLOCK_BYTES

    def lines(self, blocks: range) -> Iterator[tuple[int, bytes]]:
        """Yields the number and the content of each line in a range of blocks."""
        number = int(self._firsts[blocks.start])
        with self._file.open("rb") as opened:
            opened.seek(self._offsets[blocks.start])
            for size in np.diff(self._offsets[blocks.start : blocks.stop + 1]):
                for line in _lines(opened.read(size)):
                    yield number, line
                    number += 1


def _lines(block: bytes) -> list[bytes]:
    return zlib.decompress(block, _GZIP).split(b"\n")[:-1]
