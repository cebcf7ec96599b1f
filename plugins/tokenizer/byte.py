"""Byte tokenizer: it needs no training or merges and can represent every text.

Xue et al. 2021 (ByT5), https://arxiv.org/abs/2105.13626. The id of a byte is its value plus the
number of special tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from etude import plugin
from etude.config import NewTokenizerConfig
from etude.data import BYTE_CHARACTERS, Tokenizer, TokenizerSource, reserved_tokens


@dataclass
class ByteConfig(NewTokenizerConfig):
    pass


@plugin(ByteConfig)
class Byte(TokenizerSource[ByteConfig]):
    """Byte-pair encoding without merges."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        tokens = (*reserved_tokens(self.config.n_sentinels), *BYTE_CHARACTERS)
        vocabulary = {token: i for i, token in enumerate(tokens)}
        inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        return Tokenizer(inner)
