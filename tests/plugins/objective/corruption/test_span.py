import re

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config.registry import build
from etude.errors import ConfigError
from etude.plugins.objective.corruption._spans import corrupted_lengths, raw_length, segments
from etude.plugins.objective.corruption.span import Span, SpanConfig

MANY = build(tiny.part("tokenizer", "byte", n_sentinels=400)).build(lambda: iter([]))
SENTINELS = list(MANY.vocab.sentinels)
TEXT = len(MANY.vocab.special)
"""The first id of a byte."""


def corrupted(
    tokens: np.ndarray, seed: int = 0, density: float = 0.15, mean: float = 3.0
) -> tuple[list[int], list[int]]:
    span = Span(SpanConfig(density, mean), MANY)
    source, target = span(tokens, np.random.default_rng(seed))
    return source.tolist(), target.tolist()


def restored(source: list[int], target: list[int]) -> list[int]:
    """Replaces each sentinel of the source with the tokens after it in the target."""
    cut: dict[int, list[int]] = {}
    for token in target:
        if token in SENTINELS:
            cut[token] = []
        else:
            cut[list(cut)[-1]].append(token)
    return [t for token in source for t in (cut[token] if token in SENTINELS else [token])]


@settings(max_examples=300, deadline=None)
@given(
    n=st.integers(0, 700),
    density=st.floats(0.01, 0.99),
    mean=st.floats(1.0, 20.0),
    seed=st.integers(0, 2**32),
)
def test_every_token_is_in_the_input_or_the_target_exactly_once(
    n: int, density: float, mean: float, seed: int
) -> None:
    tokens = np.random.default_rng(seed).integers(TEXT, TEXT + 256, n)
    source, target = corrupted(tokens, seed, density, mean)
    assert restored(source, target) == tokens.tolist()
    if n < 2:
        assert (source, target) == (tokens.tolist(), [])
        return
    n_noise = min(max(round(n * density), 1), n - 1)
    marks = [token for token in source if token in SENTINELS]
    n_spans = max(1, round(n_noise / mean))
    assert marks == SENTINELS[: min(n_spans, n_noise, n - n_noise)]  # ascending, each once
    assert [token for token in target if token in SENTINELS] == marks
    assert len(target) == n_noise + len(marks)
    assert len(source) == n - n_noise + len(marks)
    assert source[0] not in SENTINELS  # the first token is never noise
    assert source[-1] in SENTINELS  # and the last always is
    assert target[0] in SENTINELS


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_shortest_texts_by_hand(n: int) -> None:
    tokens, first = np.arange(TEXT, TEXT + n), SENTINELS[0]
    wanted = {
        0: ([], []),
        1: ([TEXT], []),
        2: ([TEXT, first], [first, TEXT + 1]),
        3: ([TEXT, TEXT + 1, first], [first, TEXT + 2]),
    }
    assert corrupted(tokens) == wanted[n]


@pytest.mark.parametrize(
    ("raw", "inputs", "targets"),
    [(141, 128, 29), (284, 256, 58), (568, 512, 114), (1137, 1024, 229)],
)
def test_lengths_are_those_of_t5_both_with_eos(raw: int, inputs: int, targets: int) -> None:
    source, target = corrupted(np.full(raw, TEXT))
    assert (len(source) + 1, len(target) + 1) == (inputs, targets)
    assert Span(SpanConfig(), tiny.BYTES).raw_length(inputs) == raw
    assert corrupted_lengths(raw, 0.15, 3.0) == (inputs, targets)


@given(length=st.integers(4, 600), density=st.floats(0.05, 0.6), mean=st.floats(1.0, 9.0))
def test_a_raw_row_is_the_longest_whose_input_and_target_fit(
    length: int, density: float, mean: float
) -> None:
    raw = raw_length(length, density, mean)
    assert max(corrupted_lengths(raw, density, mean)) <= length
    assert max(corrupted_lengths(raw + 1, density, mean)) > length


def test_segments_are_not_empty_and_all_splits_are_equally_likely() -> None:
    found = [tuple(segments(5, 3, np.random.default_rng(i)).tolist()) for i in range(3000)]
    cuts = {(a, b, 5 - a - b) for a in range(1, 4) for b in range(1, 5 - a)}
    assert set(found) == cuts
    each = 3000 / len(cuts)
    assert sum((found.count(cut) - each) ** 2 / each for cut in cuts) < 20.5  # 5 degrees, 0.001


@pytest.mark.parametrize(("seq_len", "n_spans"), [(512, 28), (2048, 114), (4096, 227)])
def test_long_rows_have_the_configured_mean_span_or_are_refused(seq_len: int, n_spans: int) -> None:
    n_raw = Span(SpanConfig(), MANY).raw_length(seq_len)
    source, target = corrupted(np.full(n_raw, TEXT))
    n_sentinels = sum(token in SENTINELS for token in source)
    assert (len(source) + 1, n_sentinels) == (seq_len, n_spans)
    assert (len(target) - n_sentinels) / n_sentinels == pytest.approx(3.0, rel=0.02)
    if n_spans <= 100:
        return
    numbers = rf"{n_spans} sentinels for data\.seq_len={seq_len}.*the tokenizer has 100"
    with pytest.raises(ConfigError, match=f"{numbers}(?s:.)*tokenizer.n_sentinels={n_spans}") as e:
        Span(SpanConfig(), tiny.BYTES).raw_length(seq_len)
    mean, shorter = re.findall(r"mean_span=([\d.]+) or data.seq_len=(\d+)", str(e.value))[0]
    Span(SpanConfig(mean_span=float(mean)), tiny.BYTES).raw_length(seq_len)  # both ways lead out
    Span(SpanConfig(), tiny.BYTES).raw_length(int(shorter))
    with pytest.raises(ConfigError):
        Span(SpanConfig(), tiny.BYTES).raw_length(int(shorter) + 1)


@pytest.mark.parametrize(
    "values", [{"noise_density": 0.0}, {"noise_density": 1.0}, {"mean_span": 0.5}]
)
def test_values_outside_their_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SpanConfig(**values)
