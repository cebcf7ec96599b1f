"""Conversations about the standard library: explain a name, then summarise it in one line.

About 6,000, without a download. `Explain` requests a docstring or the first paragraph of a chapter
of the language reference; if a docstring has a summary line, a second turn requests it. The answers
are the original texts, so a small model learns the format, not the facts.
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
    """Maximum length of an answer, in characters; longer docstrings are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_chars >= 40, f"max_chars must be at least 40, got {self.max_chars}")


def explain(name: str, answer: str) -> Chat:
    """A question about a name, its answer and, if the answer has a summary, a second turn."""
    messages = [Message("user", f"Explain `{name}`."), Message("assistant", answer)]
    line, _, body = answer.partition("\n\n")
    if body and "\n" not in line:
        messages += [Message("user", AGAIN), Message("assistant", line)]
    return Chat(tuple(messages))


@plugin(DocsChatConfig, yields=Chat)
class DocsChat(DataSource[DocsChatConfig]):
    """Yields docstrings and chapters in a deterministic random order."""

    def records(self) -> Iterator[Chat]:
        answers = [(docstring.name, docstring.text.strip()) for docstring in docstrings()]
        for name, chapter in topics().items():
            _title, *paragraphs = re.split(r"\n\s*\n", chapter.strip())
            answers += [(name, paragraphs[0].strip())] if paragraphs else []
        for name, answer in sorted(answers, key=by_hash):
            if 20 <= len(answer) <= self.config.max_chars:
                yield explain(name, answer)

    def fingerprint(self) -> str:
        return fingerprint()
