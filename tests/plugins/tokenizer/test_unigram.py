import math
import random
from collections.abc import Iterator
from itertools import combinations

import pytest

from etude.config.registry import build
from etude.plugins.tokenizer.unigram import UnigramConfig, canonical

WORDS = ["low", "lower", "lowest", "new", "newer", "newest", "wide", "wider", "widest"]


def corpus() -> Iterator[str]:
    draw = random.Random(0)
    return (" ".join(draw.choices(WORDS, k=12)) for _ in range(200))


def test_a_word_is_split_into_its_most_probable_pieces() -> None:
    source = build(UnigramConfig(vocab_size=420))
    tokenizer = source.build(corpus)
    score = dict(canonical(source.train(corpus(), 311), 311))

    def total(pieces: list[str]) -> float:
        return sum(score.get(piece, -math.inf) for piece in pieces)

    for word in ("lowest", "newer", "wilder", "slow"):
        places = range(1, len(word))
        splits = [
            [word[a:b] for a, b in zip((0, *cuts), (*cuts, len(word)), strict=True)]
            for n in range(len(word))
            for cuts in combinations(places, n)
        ]
        pieces = tokenizer.pieces(tokenizer.encode(word))
        assert total(pieces) == pytest.approx(max(map(total, splits)))


def test_scores_do_not_depend_on_the_summation_order() -> None:
    scores = {"a": -1.00000004, "b": -9.0123, "c": -9.02, "ab": -2.0, "bc": -9.02}
    noisy = {"ab": -2.00000001, "c": -9.0141, "b": -9.02, "bc": -9.02, "a": -1.0}
    assert canonical(scores, 5) == canonical(noisy, 5)
    assert canonical(scores, 4) == [("a", -1.0), ("ab", -2.0), ("b", -9.02), ("c", -9.02)]


def test_no_piece_exceeds_max_piece_bytes() -> None:
    tokenizer = build(UnigramConfig(vocab_size=600, max_piece_bytes=3)).build(corpus)
    assert max(len(piece) for piece in tokenizer.pieces(range(109, tokenizer.vocab.size))) <= 3
