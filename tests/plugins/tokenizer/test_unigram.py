import math
import random
from collections.abc import Iterator
from itertools import combinations

import pytest

from etude.config.registry import build
from etude.plugins.tokenizer.unigram import UnigramConfig, canonical

WORDS = ["low", "lower", "lowest", "new", "newer", "newest", "to_fp32", "wider", "widest"]


def corpus() -> Iterator[str]:
    draw = random.Random(0)
    return (" ".join(draw.choices(WORDS, k=12)) for _ in range(200))


def test_a_word_is_cut_in_the_most_probable_way() -> None:
    source = build(UnigramConfig(vocab_size=420))
    tokenizer = source.build(corpus)
    score = dict(canonical(source.trained(corpus()), 420 - 109))

    def total(pieces: list[str]) -> float:
        return sum(score.get(piece, -math.inf) for piece in pieces)

    for word in ("lowest", "newer", "wilder", "slow"):
        places = range(1, len(word))
        ways = [
            [word[a:b] for a, b in zip((0, *cuts), (*cuts, len(word)), strict=True)]
            for n in range(len(word))
            for cuts in combinations(places, n)
        ]
        chosen = tokenizer.pieces(tokenizer.encode(word))
        assert total(chosen) == pytest.approx(max(map(total, ways)))


def test_the_order_of_the_sums_leaves_no_trace() -> None:
    scores = {"a": -1.00000004, "b": -9.0123, "c": -9.02, "ab": -2.0, "bc": -9.02}
    noisy = {"ab": -2.00000001, "c": -9.0141, "b": -9.02, "bc": -9.02, "a": -1.0}
    assert canonical(scores, 5) == canonical(noisy, 5)
    assert canonical(scores, 4) == [("a", -1.0), ("ab", -2.0), ("b", -9.02), ("c", -9.02)]


def test_no_piece_is_longer_than_asked() -> None:
    tokenizer = build(UnigramConfig(vocab_size=600, max_piece_bytes=3)).build(corpus)
    assert max(len(piece) for piece in tokenizer.pieces(range(109, tokenizer.vocab.size))) <= 3
