"""Spans of noise in a text, with the arithmetic of T5.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683, section 3.3; random_spans_noise_mask in
`t5/data/preprocessors.py`. Deviations: see `span.py`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def noise_amounts(n: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """Returns the number of noise tokens among n >= 2 tokens, and the number of spans."""
    n_noise = min(max(round(n * noise_density), 1), n - 1)
    return n_noise, min(max(1, round(n_noise / mean_span)), n_noise, n - n_noise)


def corrupted_lengths(n: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """Returns the lengths of input and target for n >= 2 tokens, both with eos."""
    n_noise, n_spans = noise_amounts(n, noise_density, mean_span)
    return n - n_noise + n_spans + 1, n_noise + n_spans + 1


def raw_length(seq_len: int, noise_density: float, mean_span: float) -> int:
    """Returns the largest number of text tokens whose input and target fit in `seq_len`."""
    n = max(2, seq_len - 1)  # both have eos, and each sentinel replaces at least one token
    while max(corrupted_lengths(n + 1, noise_density, mean_span)) <= seq_len:
        n += 1
    return n


def segments(total: int, parts: int, rng: np.random.Generator) -> Int[np.ndarray, " parts"]:
    """Returns the lengths of a uniformly random split of `total` into non-empty parts."""
    cuts = np.sort(rng.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate(([0], cuts, [total])))


def replace_spans(
    tokens: Int[np.ndarray, " n"],
    n_noise: int,
    n_spans: int,
    sentinels: Sequence[int],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
    """Moves `n_spans` random spans, `n_noise` tokens in all, to the target, behind sentinels."""
    kept = segments(len(tokens) - n_noise, n_spans, rng)
    removed = segments(n_noise, n_spans, rng)
    pieces = np.split(tokens, np.cumsum(np.column_stack((kept, removed)).ravel())[:-1])
    source: list[np.ndarray] = []
    target: list[np.ndarray] = []
    for i, sentinel in enumerate(sentinels[:n_spans]):
        mark = np.array([sentinel], tokens.dtype)
        source += [pieces[2 * i], mark]
        target += [mark, pieces[2 * i + 1]]
    return np.concatenate(source), np.concatenate(target)
