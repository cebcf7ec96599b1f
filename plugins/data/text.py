"""Plain text files such as .txt and .md, in UTF-8 and any script, optionally compressed.

Long files are split into documents, so that part of a file can be held out.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, Place, SourceRow, Text, plugin
from etude.config import TextDataConfig
from etude.data import (
    Document,
    FileConfig,
    FilePart,
    FileSource,
    line_parts,
    lines,
    pieces,
    split_documents,
)


@dataclass
class TextConfig(FileConfig, TextDataConfig):
    document: Document = Document.blocks
    """Unit of a document: blocks (consecutive paragraphs, about 2 KB), line or file."""


class _Lines:
    """The readable lines of a file, and where its documents start."""

    def __init__(self, part: FilePart, unit: Document) -> None:
        self._read = lines(part) if unit is Document.line else pieces(part.file)
        self._starts = deque[tuple[int, str]](maxlen=None if unit is Document.blocks else 1)
        """The number of characters before each line since the last document, and its place."""
        self._n_chars = 0
        self.bad: list[BadRow] = []

    def __iter__(self) -> Iterator[str]:
        n_chars = 0
        for line in self._read:
            if isinstance(line, BadRow):
                self.bad.append(line)
            else:
                self._starts.append((n_chars, line[0]))
                n_chars += len(line[1])
                yield line[1]

    def start_of(self, document: str) -> str:
        """The place of a document's first line; called with each document, in order."""
        while len(self._starts) > 1 and self._starts[1][0] <= self._n_chars:
            self._starts.popleft()
        self._n_chars += len(document)
        return self._starts[0][1]


@plugin(
    TextConfig, yields=Text, example={"path": "{file}This is line # of a text.", "document": "line"}
)
class TextFiles(FileSource[TextConfig]):
    """Yields the documents of each file in order, then reports its unreadable lines."""

    suffixes = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".py")

    def rows(self, file: Path) -> Iterator[SourceRow]:
        return self.part_rows(FilePart(file))

    def parts(self, file: Path) -> Iterator[FilePart]:
        is_line = self.config.document is Document.line
        return line_parts(file) if is_line else super().parts(file)

    def part_rows(self, part: FilePart) -> Iterator[SourceRow]:
        unit = self.config.document
        read = _Lines(part, unit)
        try:
            for document in split_documents(read, unit):
                place = str(part.file) if unit is Document.file else read.start_of(document)
                if document.strip():
                    yield Place(place)
                    yield Text(document)
        except ValueError as error:  # it is too long
            read.bad.append(BadRow(str(part.file), str(error)))
        yield from read.bad
