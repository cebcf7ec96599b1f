"""Plain text files such as .txt and .md, in UTF-8 and any script, optionally compressed.

Long files are split into documents, so that part of a file can be held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, Text, plugin
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


def good_lines(read: Iterator[tuple[str, str] | BadRow], bad: list[BadRow]) -> Iterator[str]:
    """The readable lines of a file; unreadable ones are appended to `bad`."""
    for line in read:
        if isinstance(line, BadRow):
            bad.append(line)
        else:
            yield line[1]


@plugin(
    TextConfig, yields=Text, example={"path": "{file}This is line # of a text.", "document": "line"}
)
class TextFiles(FileSource[TextConfig]):
    """Yields the documents of each file in order, then reports its unreadable lines."""

    suffixes = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".py")

    def rows(self, file: Path) -> Iterator[Text | BadRow]:
        return self.part_rows(FilePart(file))

    def parts(self, file: Path) -> Iterator[FilePart]:
        is_line = self.config.document is Document.line
        return line_parts(file) if is_line else super().parts(file)

    def part_rows(self, part: FilePart) -> Iterator[Text | BadRow]:
        unit = self.config.document
        read = lines(part) if unit is Document.line else pieces(part.file)
        bad: list[BadRow] = []
        try:
            for document in split_documents(good_lines(read, bad), unit):
                if document.strip():
                    yield Text(document)
        except ValueError as error:  # it is too long
            bad.append(BadRow(str(part.file), str(error)))
        yield from bad
