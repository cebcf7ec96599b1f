"""UL2's mixture of denoisers: the spans of the paper's table 1, and mode tokens."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import tiny

from etude.config.registry import build
from etude.errors import ConfigError
from etude.plugins.objective.corruption.ul2 import DENOISERS, Mode, Ul2, Ul2Config

MANY = build(tiny.part("tokenizer", "byte", n_sentinels=400)).build(lambda: iter([]))
SENTINELS = list(MANY.vocab.sentinels)
TOKENS = {mode: MANY.vocab.sentinels[-mode] for mode in Mode}
TEXT = np.random.default_rng(0).integers(len(MANY.vocab.special), MANY.vocab.size, 512)
ALONE = {
    Mode.regular: {"sequential": 0.0, "extreme": 0.0},
    Mode.sequential: {"regular": 0.0, "extreme": 0.0},
    Mode.extreme: {"regular": 0.0, "sequential": 0.0},
}


def corrupted(seed: int, **shares: float) -> tuple[list[int], list[int]]:
    source, target = Ul2(Ul2Config(**shares), MANY)(TEXT, np.random.default_rng(seed))
    return source.tolist(), target.tolist()


def spans_of(target: list[int]) -> list[int]:
    """The lengths of the removed spans."""
    places = [i for i, token in enumerate(target) if token in SENTINELS]
    return [b - a - 1 for a, b in zip(places, [*places[1:], len(target)], strict=True)]


@pytest.mark.parametrize("mode", Mode)
def test_spans_have_the_rates_and_mean_lengths_of_table_1(mode: Mode) -> None:
    wanted = {
        Mode.regular: {(0.15, 3.0), (0.15, 8.0)},
        Mode.sequential: {(0.25, 128.0)},
        Mode.extreme: {(0.5, 3.0), (0.5, 8.0), (0.15, 64.0), (0.5, 64.0)},
    }[mode]
    found: set[tuple[float, float]] = set()
    for seed in range(60):
        source, target = corrupted(seed, **ALONE[mode])
        assert source[0] == TOKENS[mode]
        spans = spans_of(target)
        rate, mean = sum(spans) / len(TEXT), sum(spans) / len(spans)
        near = [w for w in wanted if abs(rate - w[0]) < 0.01 and abs(mean / w[1] - 1) < 0.25]
        assert len(near) == 1, (rate, mean)
        found |= {*near}
    assert found == wanted


@pytest.mark.parametrize("mode", Mode)
def test_every_token_is_in_the_input_or_the_target_exactly_once(mode: Mode) -> None:
    for seed in range(20):
        source, target = corrupted(seed, **ALONE[mode])
        cut: dict[int, list[int]] = {}
        for token in target:
            if token in SENTINELS:
                cut[token] = []
            else:
                cut[list(cut)[-1]].append(token)
        parts = [cut[t] if t in SENTINELS else [t] for t in source[1:]]
        assert [token for part in parts for token in part] == TEXT.tolist()


def test_the_sequential_denoiser_predicts_the_last_quarter() -> None:
    source, target = corrupted(0, **ALONE[Mode.sequential])
    assert source == [TOKENS[Mode.sequential], *TEXT[:384].tolist(), SENTINELS[0]]
    assert target == [SENTINELS[0], *TEXT[384:].tolist()]


def test_all_seven_denoisers_are_equally_likely() -> None:
    modes = Counter(corrupted(seed)[0][0] for seed in range(700))
    expected = {TOKENS[mode]: 100 * len(DENOISERS[mode]) for mode in Mode}
    spread = sum((modes[token] - n) ** 2 / n for token, n in expected.items())
    assert spread < 13.8  # 2 degrees of freedom, 0.001


def test_the_same_key_gives_the_same_noise() -> None:
    assert corrupted(3) == corrupted(3)
    assert corrupted(3) != corrupted(4)


@pytest.mark.parametrize("seq_len", [4, 5, 8, 16, 64, 256])
def test_input_and_target_of_the_longest_row_fit_with_eos(seq_len: int) -> None:
    corrupt = Ul2(Ul2Config(), MANY)
    n = corrupt.raw_length(seq_len)
    assert seq_len < 16 or n > 0.9 * seq_len
    for seed in range(40):
        source, target = corrupt(TEXT[:n], np.random.default_rng(seed))
        assert max(len(source), len(target)) + 1 <= seq_len


def test_too_few_sentinels_or_tokens_are_refused() -> None:
    needed = r"tokenizer\.n_sentinels=(\d+)"
    corrupt = Ul2(Ul2Config(), tiny.BYTES)
    with pytest.raises(ConfigError, match=needed):
        corrupt.raw_length(1024)
    with pytest.raises(ConfigError, match="at least 4 tokens"):
        corrupt.raw_length(3)
    assert corrupt.raw_length(512) > 0
    few: Any = Ul2(Ul2Config(extreme=0.0), tiny.BYTES)
    assert few.raw_length(1024) > 0  # needs fewer spans


@pytest.mark.parametrize("shares", [(-1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_shares_that_are_negative_or_all_0_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="regular, sequential and extreme"):
        Ul2Config(*shares)


def test_a_text_of_one_token_is_kept() -> None:
    source, target = Ul2(Ul2Config(), MANY)(TEXT[:1], np.random.default_rng(0))
    assert source.tolist() == TEXT[:1].tolist()
    assert len(target) == 0
