import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.data.words import ngrams, words_of
from etude.plugins.filter.minhash import RECALL, n_bands
from etude.records import Text

CHINESE = "图书馆收藏了这份期刊创刊以来的每一期读者可以借阅三卷为期一周也通过邮件订购文章"


def minhash(**knobs: Any) -> Filter:
    return build(tiny.part("filter", "minhash", **knobs))


def decisions(texts: Sequence[str], **knobs: Any) -> list[Drop | None]:
    made = minhash(**knobs)
    return [made.decide(Text(text)) for text in texts]  # type: ignore[misc] -- it changes nothing


def jaccard(one: str, other: str, n: int = 5) -> float:
    a, b = ({*ngrams(words_of(text), n)} for text in (one, other))
    return len(a & b) / len(a | b)


def planted(n_bases: int, joint: str, vocabulary: Sequence[str]) -> list[str]:
    """Random texts of 150 words, and copies of each in which 1 to 8 words are replaced."""
    draw = random.Random(0)
    texts: list[str] = []
    for i in range(n_bases):
        words = draw.choices(vocabulary, k=150)
        texts.append(joint.join(words))
        for _ in range(2):
            copy = list(words)
            for place in draw.sample(range(150), 1 + i % 8):
                copy[place] = draw.choice(vocabulary)
            texts.append(joint.join(copy))
    draw.shuffle(texts)
    return texts


@pytest.mark.parametrize(
    ("joint", "vocabulary", "found"),
    [(" ", [f"word{i}" for i in range(500)], (39, 3, 4)), ("", list(CHINESE), (42, 5, 6))],
)
def test_planted_near_duplicates_are_found(
    joint: str, vocabulary: Sequence[str], found: tuple[int, int, int]
) -> None:
    texts = planted(60, joint, vocabulary)
    kept: list[int] = []
    right = wrong = missed = 0
    for i, drop in enumerate(decisions(texts)):
        nearest = max((jaccard(texts[i], texts[k]) for k in kept), default=0.0)
        if drop is None:
            kept.append(i)
        else:
            assert drop.other in kept
        right += drop is not None and nearest >= 0.8
        wrong += drop is not None and nearest < 0.8
        missed += drop is None and nearest >= 0.8
        assert (drop is not None) == (nearest >= 0.8) or abs(nearest - 0.8) < 0.1
    assert (right, wrong, missed) == found


def test_the_first_of_near_duplicates_survives() -> None:
    base = " ".join(f"w{i}" for i in range(300))
    drops = decisions([base, base + " end", "something else", base.upper() + "!"])
    assert [drop and drop.other for drop in drops] == [None, 0, None, 0]
    assert drops[1] == Drop("near duplicate", drops[1].number if drops[1] else 0, 0.8, other=0)
    assert drops[3] == Drop("near duplicate", 1.0, 0.8, other=0)


def test_a_document_that_resembles_a_dropped_one_alone_is_kept() -> None:
    words = [f"w{i}" for i in range(200)]
    chain = [" ".join(words[k : k + 150]) for k in (0, 10, 20)]
    first, second = (jaccard(chain[i], chain[i + 1]) for i in (0, 1))
    assert min(first, second) > 0.85 > 0.8 > jaccard(chain[0], chain[2])
    drops = decisions(chain, permutations=1024)
    assert [drop is None for drop in drops] == [True, False, True]


def test_documents_without_words_are_kept() -> None:
    assert decisions(["...", "...", "!"]) == [None, None, None]


def test_shorter_signatures_and_other_ngrams_give_other_estimates() -> None:
    base = " ".join(f"w{i}" for i in range(100))
    copy = base.replace("w50", "x")
    found = [
        decisions([base, copy], threshold=0.5, **knobs)[1]
        for knobs in ({"ngram": 1}, {"ngram": 13}, {"permutations": 32})
    ]
    one, many, few = (drop.number if drop else 0.0 for drop in found)
    assert one > 0.9 > many > 0.6
    assert few * 32 == round(few * 32)


@pytest.mark.parametrize(("permutations", "threshold"), [(128, 0.8), (64, 0.5), (17, 0.9)])
def test_the_bands_find_a_pair_at_the_threshold(permutations: int, threshold: float) -> None:
    n = n_bands(permutations, threshold)
    assert permutations % n == 0
    fewer = [k for k in range(1, n) if permutations % k == 0]
    recalls = [1 - (1 - threshold ** (permutations // k)) ** k for k in (*fewer, n)]
    assert recalls[-1] >= RECALL > max(recalls[:-1])


def test_the_estimate_is_the_jaccard_similarity() -> None:
    texts = planted(20, " ", [f"word{i}" for i in range(500)])
    pairs = [(a, b) for a, b in combinations(texts, 2) if jaccard(a, b) > 0.6]
    errors = [
        drop.number - jaccard(*pair)
        for pair in pairs
        if (drop := decisions(pair, permutations=512, threshold=0.5)[1])
    ]
    assert len(errors) == len(pairs)
    assert abs(sum(errors) / len(errors)) < 0.01
    assert max(map(abs, errors)) < 4 * (0.25 / 512) ** 0.5
