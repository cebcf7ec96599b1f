"""Bytes: no training, no merges, and no text it cannot represent.

Xue et al. 2021 (ByT5), https://arxiv.org/abs/2105.13626. The id of a byte is its value plus the
number of special tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from etude import plugin
from etude.schema import TokenizerConfig
from etude.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerSource


@dataclass
class ByteConfig(TokenizerConfig):
    pass


def byte_characters() -> list[str]:
    """The character that stands for each byte, by value, as GPT-2 writes bytes.

    A byte that is a visible Latin-1 character stands for itself; the others are numbered from 256.
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + hidden.index(byte)) for byte in range(256)]


@plugin(ByteConfig)
class Byte(TokenizerSource[ByteConfig]):
    """Byte-pair encoding with no pairs."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        vocabulary = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *byte_characters()))}
        inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        return Tokenizer(inner)
