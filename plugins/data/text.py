"""Plain text files: .txt, .md and the like, in UTF-8, any script, also gzipped.

A long file is cut into documents, so that a part of it can be held out.
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
    """What is one document: blocks (paragraphs, about 2 KB together), line or file."""


def good_lines(file: Path, bad: list[BadRow]) -> Iterator[str]:
    """The lines of a file that can be read; the others go to `bad`."""
    for line in lines(file):
        if isinstance(line, BadRow):
            bad.append(line)
        else:
            yield line[1]


@plugin(TextConfig, yields=Text)
class TextFiles(DataSource[TextConfig]):
    """The documents of each file, in order; lines that cannot be read are left out and named."""

    def records(self) -> Iterator[Text | BadRow]:
        for file in files(self.config.path, SUFFIXES):
            bad: list[BadRow] = []
            for document in split_documents(good_lines(file, bad), self.config.document):
                if document.strip():
                    yield Text(document)
            yield from bad

    def fingerprint(self) -> str:
        return fingerprint(files(self.config.path, SUFFIXES))
