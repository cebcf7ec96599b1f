"""How a long text becomes documents, without losing a character of it.

Works on a stream of lines, so a file of any size needs little memory; text may be in any script.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

TARGET_BYTES: Final = 2048
_SENTENCE: Final = re.compile(
    r".{0,480}?(?:[.!?]\s{1,8}|[。！？…][”’」』）]?)|.{1,480}", re.DOTALL
)  # 480 characters are never more than the target in bytes


class Document(Enum):
    """What a document of a text file is."""

    blocks = "neighbouring paragraphs (set apart by blank lines), about 2 KB together"
    line = "each line that is not blank, without its line break"
    file = "the whole file"


def split_documents(lines: Iterable[str], into: Document) -> Iterator[str]:
    """Yields the documents of a text given as lines with their line breaks.

    Blocks joined give the text back. A paragraph too long is cut at its lines, and a line too
    long at the ends of its sentences.
    """
    if into is Document.line:
        yield from (line.removesuffix("\n") for line in lines if line.strip())
    elif into is Document.file:
        yield from filter(None, ("".join(lines),))
    else:
        yield from _merged(_paragraphs(lines))


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs with the blank lines after them; the parts of one that is too long."""
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
    """Neighbours joined for as long as they stay within the target."""
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
