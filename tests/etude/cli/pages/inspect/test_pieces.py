"""Tokens are shown with visible white space, and as parts of characters."""

import tiny

from etude.cli.pages.inspect.pieces import LONGEST_PIECE, shown_pieces

VOCAB = tiny.BYTES.vocab


def ids(text: str) -> list[int]:
    return tiny.BYTES.encode(text).tolist()


def test_each_token_of_a_character_shows_the_character() -> None:
    tokens = [*ids("a好"), VOCAB.mask, *ids("好")[:2]]
    assert shown_pieces(tokens, tiny.BYTES) == ["a", "好¹", "好²", "好³", "<mask>", "�", "�"]


def test_white_space_is_visible() -> None:
    assert shown_pieces(ids(" \n\t\r"), tiny.BYTES) == ["·", "↵", "→", "←"]


def test_a_long_piece_loses_its_middle() -> None:
    inner = tiny.BYTES.vocab
    (piece,) = shown_pieces([inner.sentinels[0]], tiny.BYTES)
    assert len(piece) <= LONGEST_PIECE + 1
