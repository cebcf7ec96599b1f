"""The characters that represent bytes in a byte-level tokenizer, as in GPT-2."""

import re
from collections.abc import Callable
from typing import Final

import tokenizers
from tokenizers import decoders, models

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")  # SentencePiece's byte fallback
_VISIBLE: Final = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}


_HIDDEN: Final = [byte for byte in range(256) if byte not in _VISIBLE]


BYTE_CHARACTERS: Final = tuple(
    chr(byte if byte in _VISIBLE else 256 + _HIDDEN.index(byte)) for byte in range(256)
)
"""The character that represents each byte value in a byte-level tokenizer such as GPT-2's.

A byte that is a visible Latin-1 character represents itself; the others are numbered from 256.
"""


BYTE_ALPHABET: Final = tuple(sorted(BYTE_CHARACTERS))
"""The same characters in the order of their code points."""


BYTES: Final = {character: bytes([byte]) for byte, character in enumerate(BYTE_CHARACTERS)}


def bytes_of_pieces(inner: tokenizers.Tokenizer) -> Callable[[str], bytes]:
    """Returns a function that converts a vocabulary piece of this tokenizer to its bytes."""
    model = inner.model
    if isinstance(inner.decoder, decoders.ByteLevel):
        return lambda piece: b"".join(BYTES.get(c) or c.encode() for c in piece)
    if isinstance(model, models.WordPiece):
        inside = model.continuing_subword_prefix
        return lambda piece: f" {piece}".removeprefix(f" {inside}").encode()
    return lambda piece: (
        bytes.fromhex(found[1])
        if (found := _BYTE.fullmatch(piece))
        else piece.replace("▁", " ").encode()
    )
