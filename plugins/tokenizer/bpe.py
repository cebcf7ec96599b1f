"""Byte-level byte-pair encoding: merge the most frequent pair of symbols, starting from bytes.

Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; over bytes, with GPT-2's cut into words:
Radford et al. 2019, https://cdn.openai.com/better-language-models/language-models.pdf, section 2.2.
Digits stand alone, as in LLaMA: Touvron et al. 2023, https://arxiv.org/abs/2302.13971, section 2.1;
a number then has one spelling, which is what sums are learned from. Lossless.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from etude import plugin, require
from etude.config import TrainedTokenizerConfig
from etude.data import BYTE_ALPHABET, SMALLEST_OF_BYTES, SPECIAL_TOKENS, Tokenizer, TokenizerSource


@dataclass
class BpeConfig(TrainedTokenizerConfig):
    min_frequency: int = 2
    """How often a pair must occur to be merged; a small corpus may use up its pairs early."""
    split_digits: bool = True
    """Whether each digit is a token of its own; GPT-2 merges them like letters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.vocab_size >= SMALLEST_OF_BYTES,
            f"vocab_size must be at least {SMALLEST_OF_BYTES} ({len(SPECIAL_TOKENS)} special "
            f"tokens and 256 bytes), got {self.vocab_size}",
        )
        require(
            self.min_frequency >= 1, f"min_frequency must be at least 1, got {self.min_frequency}"
        )


@plugin(BpeConfig)
class Bpe(TokenizerSource[BpeConfig]):
    """Merges are learned within words, of bytes written as GPT-2 writes them."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        inner = tokenizers.Tokenizer(models.BPE())
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alone = pre_tokenizers.Digits(individual_digits=True)
        cut = [alone, words] if self.config.split_digits else [words]
        inner.pre_tokenizer = pre_tokenizers.Sequence(cut)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.config.vocab_size,
            min_frequency=self.config.min_frequency,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=list(BYTE_ALPHABET),
            show_progress=False,
        )
        inner.train_from_iterator(corpus(), trainer=trainer)
        return Tokenizer(inner)
