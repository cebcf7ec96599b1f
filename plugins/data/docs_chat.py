"""Conversations on the standard library: what a name is for, and what that is in one line.

About 6,000 that need no download: `Explain` asks for a docstring or for the first paragraph of a
chapter of the language reference; where a docstring has a first line of its own, a second turn asks
for it. The answers are their authors' own words, so a small model learns the form, not the facts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Chat, Message, plugin, require
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import by_hash, docstrings, fingerprint, topics

AGAIN = "In one line, please."


@dataclass
class DocsChatConfig(DataConfig):
    max_chars: int = 600
    """Longest answer, in characters; docstrings beyond it are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_chars >= 40, f"max_chars must be at least 40, got {self.max_chars}")


def explained(name: str, answer: str) -> Chat:
    """A question about a name, its answer and, where the answer has a summary, that."""
    said = [Message("user", f"Explain `{name}`."), Message("assistant", answer)]
    line, _, body = answer.partition("\n\n")
    if body and "\n" not in line:
        said += [Message("user", AGAIN), Message("assistant", line)]
    return Chat(tuple(said))


@plugin(DocsChatConfig, yields=Chat)
class DocsChat(DataSource[DocsChatConfig]):
    """Docstrings and chapters, in an order that is as good as random."""

    def records(self) -> Iterator[Chat]:
        answers = [(docstring.name, docstring.text.strip()) for docstring in docstrings()]
        for name, chapter in topics().items():
            _title, *paragraphs = re.split(r"\n\s*\n", chapter.strip())
            answers += [(name, paragraphs[0].strip())] if paragraphs else []
        for name, answer in sorted(answers, key=by_hash):
            if 20 <= len(answer) <= self.config.max_chars:
                yield explained(name, answer)

    def fingerprint(self) -> str:
        return fingerprint()
