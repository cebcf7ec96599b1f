"""The text of each token, so that a person can tell white space and parts of characters."""

from collections.abc import Sequence

from etude.data.tokenizer import Tokenizer

LONGEST_PIECE = 24
BROKEN = "�"
PARTS = "¹²³⁴⁵⁶"
VISIBLE_SPACE = str.maketrans({" ": "·", "\n": "↵", "\t": "→", "\r": "←"})


def shown_pieces(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Returns the text of each token with visible white space; long ones lose their middle.

    If several tokens form one character, each shows the character and its own index.
    """
    pieces = tokenizer.pieces(ids)
    start = 0
    while start < len(pieces):
        size = 1
        text = pieces[start]
        if BROKEN in text:
            size, text = _character(ids[start : start + len(PARTS)], tokenizer)
        if size > 1:
            pieces[start : start + size] = [f"{text}{part}" for part in PARTS[:size]]
        start += size
    return [_visible(piece) for piece in pieces]


def _character(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[int, str]:
    """Returns how many of the first tokens form complete characters, and these; 1 if none do."""
    for size in range(2, len(ids) + 1):
        text = tokenizer.decode(ids[:size])
        if BROKEN not in text and text:
            return size, text
    return 1, BROKEN


def _visible(piece: str) -> str:
    shown = piece.translate(VISIBLE_SPACE)
    shown = "".join(char if char.isprintable() else BROKEN for char in shown)
    end = LONGEST_PIECE // 2
    return shown if len(shown) <= LONGEST_PIECE else f"{shown[:end]}…{shown[-end:]}"
