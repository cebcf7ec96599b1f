"""Byte-level byte-pair encoding: merges the most frequent pair of symbols, starting from bytes.

Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; over bytes, with GPT-2's split into words:
Radford et al. 2019, https://cdn.openai.com/better-language-models/language-models.pdf, section 2.2.
Single digits, as in LLaMA: Touvron et al. 2023, https://arxiv.org/abs/2302.13971, section 2.1;
a number then always has the same tokens, which arithmetic depends on. Lossless.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from etude import plugin, require
from etude.config import TrainedTokenizerConfig
from etude.data import BYTE_ALPHABET, Tokenizer, TokenizerSource, require_bytes, reserved_tokens


@dataclass
class BpeConfig(TrainedTokenizerConfig):
    min_frequency: int = 2
    """Minimum count of a pair to be merged; a small corpus may run out before vocab_size."""
    split_digits: bool = True
    """Whether each digit is a separate token; GPT-2 merges digits like letters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bytes(self)
        require(
            self.min_frequency >= 1, f"min_frequency must be at least 1, got {self.min_frequency}"
        )


@plugin(BpeConfig)
class Bpe(TokenizerSource[BpeConfig]):
    """Learns merges within words, over bytes in GPT-2's printable form."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        inner = tokenizers.Tokenizer(models.BPE())
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = pre_tokenizers.Digits(individual_digits=True)
        steps = [digits, words] if self.config.split_digits else [words]
        inner.pre_tokenizer = pre_tokenizers.Sequence(steps)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.config.vocab_size,
            min_frequency=self.config.min_frequency,
            special_tokens=list(reserved_tokens(self.config.n_sentinels)),
            initial_alphabet=list(BYTE_ALPHABET),
            show_progress=False,
        )
        inner.train_from_iterator(corpus(), trainer=trainer)
        return Tokenizer(inner)
