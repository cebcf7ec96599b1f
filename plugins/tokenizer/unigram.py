"""Unigram: of all ways to cut a word into pieces, the most probable one.

Kudo 2018, https://arxiv.org/abs/1804.10959. Deviations: the pieces are of bytes, within GPT-2's
words (Radford et al. 2019), where SentencePiece takes characters, marks spaces and falls back to
bytes; so it is lossless, and a script unseen in training costs more tokens, never an unknown. The
scores are rounded, and bytes unseen in training share the lowest: the trainer sums in an order
that changes from run to run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from etude import plugin
from etude.schema import TrainedTokenizerConfig, require
from etude.tokenizer import (
    BYTE_ALPHABET,
    SMALLEST_OF_BYTES,
    SPECIAL_TOKENS,
    Tokenizer,
    TokenizerSource,
)

UNSEEN = 1e-4 * len(BYTE_ALPHABET)  # the trainer spreads unseen bytes over so much above the lowest


@dataclass
class UnigramConfig(TrainedTokenizerConfig):
    max_piece_bytes: int = 16
    """Longest piece, in bytes; a Chinese character is three."""

    def __post_init__(self) -> None:
        require(
            self.vocab_size >= SMALLEST_OF_BYTES,
            f"vocab_size must be at least {SMALLEST_OF_BYTES} ({len(SPECIAL_TOKENS)} special "
            f"tokens and 256 bytes), got {self.vocab_size}",
        )
        require(
            self.max_piece_bytes >= 1,
            f"max_piece_bytes must be at least 1, got {self.max_piece_bytes}",
        )


def canonical(scores: dict[str, float]) -> list[tuple[str, float]]:
    """The pieces with log-probabilities that do not depend on the order of the trainer's sums."""
    lowest = round(min(scores.values()), 6)
    seen = {
        piece: lowest if len(piece) == 1 and score <= lowest + UNSEEN else round(score, 6)
        for piece, score in scores.items()
    }
    return sorted(seen.items(), key=lambda item: (-item[1], item[0]))


@plugin(UnigramConfig)
class Unigram(TokenizerSource[UnigramConfig]):
    """Pieces are pruned from a large set by expectation maximisation."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        inner = tokenizers.Tokenizer(models.Unigram())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.UnigramTrainer(
            vocab_size=self.config.vocab_size - len(SPECIAL_TOKENS) + 1,
            special_tokens=["<unk>"],
            unk_token="<unk>",
            initial_alphabet=list(BYTE_ALPHABET),
            max_piece_length=self.config.max_piece_bytes,
            show_progress=False,
        )
        inner.train_from_iterator(corpus(), trainer=trainer)
        trained = dict(json.loads(inner.to_str())["model"]["vocab"][1:])
        special = [(token, 0.0) for token in SPECIAL_TOKENS]
        vocabulary = [*special, *canonical(trained)]
        inner.model = models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index("<unk>"))
        return Tokenizer(inner)
