"""Splits a long text into documents without losing a character.

It works on a stream of lines, so a file of any size needs little memory. Any script is supported.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

TARGET_BYTES: Final = 2048
_SENTENCE: Final = re.compile(
    r".{0,480}?(?:[.!?]\s{1,8}|[。！？…][”’」』）]?)|.{1,480}", re.DOTALL
)  # 480 characters never exceed the target in bytes


class Document(Enum):
    """How a text file is split into documents."""

    blocks = "neighbouring paragraphs (set apart by blank lines), about 2 KB together"
    line = "each line that is not blank, without its line break"
    file = "the whole file"


def split_documents(lines: Iterable[str], into: Document) -> Iterator[str]:
    """Yields the documents of a text; `lines` include their line breaks.

    With `blocks`, the concatenated documents equal the text. A paragraph that is too long is split
    at its lines, and a line that is too long at the ends of its sentences.
    """
    if into is Document.line:
        yield from (line.removesuffix("\n") for line in lines if line.strip())
    elif into is Document.file:
        yield from filter(None, ("".join(lines),))
    else:
        yield from _merged(_paragraphs(lines))


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs with the blank lines that follow them; one that is too long is split."""
    paragraph = ""
    after_blank = False
    for line in lines:
        for part in _merged(_SENTENCE.findall(line)) if _size(line) > TARGET_BYTES else (line,):
            is_blank = not part.strip()
            too_long = _size(paragraph) + _size(part) > TARGET_BYTES
            if paragraph and ((after_blank and not is_blank) or too_long):
                yield paragraph
                paragraph = ""
            paragraph += part
            after_blank = is_blank
    if paragraph:
        yield paragraph


def _merged(parts: Iterable[str]) -> Iterator[str]:
    """Merges adjacent parts as long as the result does not exceed the target size."""
    joined = ""
    for part in parts:
        if joined and _size(joined) + _size(part) > TARGET_BYTES:
            yield joined
            joined = ""
        joined += part
    if joined:
        yield joined


def _size(text: str) -> int:
    return len(text.encode())
