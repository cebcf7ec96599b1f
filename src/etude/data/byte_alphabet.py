"""The characters that represent bytes in a byte-level tokenizer, as in GPT-2."""

from typing import Final

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
