"""Splits a long text into documents without losing a character.

It works on a stream of lines, so a file of any size needs little memory. Any script is supported.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

TARGET_BYTES: Final = 2048
MAX_CHARS: Final = 2**26
"""The longest file that can be one document."""
_SENTENCE: Final = re.compile(
    r".{0,480}?(?:[.!?]\s{1,8}|[。！？…][”’」』）]?)|.{1,479}\s|.{1,480}", re.DOTALL
)  # else up to a white space, else 480 characters, which never exceed the target in bytes


class Document(Enum):
    """How a text file is split into documents."""

    blocks = "consecutive paragraphs (separated by blank lines), merged to about 2 KB"
    line = "each line that is not blank, without its line break"
    file = "the whole file"


def split_documents(lines: Iterable[str], into: Document) -> Iterator[str]:
    """Yields the documents of a text; `lines` include their line breaks.

    With `blocks`, the concatenated documents equal the text. A paragraph that is too long is split
    at its lines, and a line that is too long at the ends of its sentences; such a line may come in
    several pieces. Raises ValueError if a file is too long to be a document.
    """
    if into is Document.line:
        yield from (line.removesuffix("\n") for line in lines if line.strip())
    elif into is Document.file:
        yield from filter(None, (_joined(lines),))
    else:
        yield from _merge(_paragraphs(_sentences(lines)))


def _joined(lines: Iterable[str]) -> str:
    joined, n_chars = list[str](), 0
    for line in lines:
        joined.append(line)
        n_chars += len(line)
        if n_chars > MAX_CHARS:
            raise ValueError(f"a document of more than {MAX_CHARS:,} characters; split the file")
    return "".join(joined)


def _sentences(lines: Iterable[str]) -> Iterator[str]:
    """Lines, and the sentences of those that are too long."""
    rest = ""
    for line in lines:
        text = rest + line
        parts = _SENTENCE.findall(text) if _size(text) > TARGET_BYTES else [text]
        # Without its continuation, the end of a piece may have been split elsewhere.
        n_final = len(parts) if text.endswith("\n") else max(0, len(parts) - 2)
        yield from parts[:n_final]
        rest = "".join(parts[n_final:])
    yield from _SENTENCE.findall(rest) if _size(rest) > TARGET_BYTES else filter(None, (rest,))


def _paragraphs(parts: Iterable[str]) -> Iterator[str]:
    """Paragraphs with the blank lines that follow them; one that is too long is split."""
    paragraph = ""
    after_blank = False
    for part in parts:
        is_blank = not part.strip()
        too_long = _size(paragraph) + _size(part) > TARGET_BYTES
        if paragraph and ((after_blank and not is_blank) or too_long):
            yield paragraph
            paragraph = ""
        paragraph += part
        after_blank = is_blank
    if paragraph:
        yield paragraph


def _merge(parts: Iterable[str]) -> Iterator[str]:
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
