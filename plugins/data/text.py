"""Plain text files such as .txt and .md, in UTF-8 and any script, optionally gzipped.

Long files are split into documents, so that a part of a file can be held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, Text, plugin
from etude.config import TextDataConfig
from etude.data import DataSource, Document, FileConfig, files, fingerprint, lines, split_documents

SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".py")


@dataclass
class TextConfig(FileConfig, TextDataConfig):
    document: Document = Document.blocks
    """Unit of a document: blocks (consecutive paragraphs, about 2 KB), line or file."""


def good_lines(file: Path, bad: list[BadRow]) -> Iterator[str]:
    """The readable lines of a file; unreadable ones are appended to `bad`."""
    for line in lines(file):
        if isinstance(line, BadRow):
            bad.append(line)
        else:
            yield line[1]


@plugin(TextConfig, yields=Text)
class TextFiles(DataSource[TextConfig]):
    """Yields the documents of each file in order, then reports its unreadable lines."""

    def records(self) -> Iterator[Text | BadRow]:
        for file in files(self.config.path, SUFFIXES):
            bad: list[BadRow] = []
            for document in split_documents(good_lines(file, bad), self.config.document):
                if document.strip():
                    yield Text(document)
            yield from bad

    def fingerprint(self) -> str:
        return fingerprint(files(self.config.path, SUFFIXES))
