"""Unigram: splits each word into its most probable sequence of pieces.

Kudo 2018, https://arxiv.org/abs/1804.10959. Deviations: pieces consist of bytes within
GPT-2's words (Radford et al. 2019), where SentencePiece uses characters, marks spaces and falls
back to bytes. It is therefore lossless: unseen scripts cost more tokens but are never unknown.
Scores are rounded, and bytes unseen in training share the lowest score, because the trainer's
summation order changes from run to run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from etude import plugin, require
from etude.config import TrainedTokenizerConfig
from etude.data import BYTE_ALPHABET, Tokenizer, TokenizerSource, require_bytes, reserved_tokens

UNSEEN = 1e-4 * len(BYTE_ALPHABET)  # the trainer scores unseen bytes up to this above the lowest


@dataclass
class UnigramConfig(TrainedTokenizerConfig):
    max_piece_bytes: int = 16
    """Maximum length of a piece, in bytes; a Chinese character takes three."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bytes(self)
        require(
            self.max_piece_bytes >= 1,
            f"max_piece_bytes must be at least 1, got {self.max_piece_bytes}",
        )


def canonical(scores: dict[str, float], size: int) -> list[tuple[str, float]]:
    """Every byte and the best longer pieces, `size` in all, most probable first.

    Their log-probabilities do not depend on the trainer's summation order.
    """
    lowest = round(min(scores.values()), 6)
    seen = {
        piece: lowest if len(piece) == 1 and score <= lowest + UNSEEN else round(score, 6)
        for piece, score in scores.items()
    }
    ranked = sorted(seen.items(), key=lambda item: (len(item[0]) > 1, -item[1], item[0]))
    return sorted(ranked[:size], key=lambda item: (-item[1], item[0]))


@plugin(UnigramConfig)
class Unigram(TokenizerSource[UnigramConfig]):
    """Prunes a large set of pieces by expectation maximisation."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        special = reserved_tokens(self.config.n_sentinels)
        n_pieces = self.config.vocab_size - len(special)
        pieces = canonical(self.train(corpus(), n_pieces), n_pieces)
        scored = [*((token, 0.0) for token in special), *pieces]
        model = models.Unigram(scored, unk_id=special.index("<unk>"))
        inner = tokenizers.Tokenizer(model)
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        return Tokenizer(inner)

    def train(self, texts: Iterator[str], n_pieces: int) -> dict[str, float]:
        """The trainer's log-probability of each piece, without special tokens."""
        inner = tokenizers.Tokenizer(models.Unigram())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.UnigramTrainer(
            vocab_size=n_pieces + 1,
            special_tokens=["<unk>"],
            unk_token="<unk>",
            initial_alphabet=list(BYTE_ALPHABET),
            max_piece_length=self.config.max_piece_bytes,
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer=trainer)
        return dict(json.loads(inner.to_str())["model"]["vocab"][1:])
