"""T5 span corruption: replaces spans with sentinels; the target lists the removed spans.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683, section 3.3, with the segmentation of
random_spans_noise_mask in `t5/data/preprocessors.py`: kept and removed spans alternate, a kept one
first, so the first token is never noise, the last always is, and no final sentinel follows.
Deviations: sentinels are reserved ids in ascending order; the number of spans is also limited to
the number of kept tokens, which the original does not guard; a row has at most `data.seq_len`
target tokens, too. A row that needs more sentinels than there are is refused, not changed.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
from jaxtyping import Int

from etude import ConfigError, plugin, require
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption


@dataclass
class SpanConfig(CorruptionConfig):
    noise_density: float = 0.15
    """Fraction of the tokens to remove, in (0, 1)."""
    mean_span: float = 3.0
    """Mean length of a removed span, in tokens; at least 1."""

    def __post_init__(self) -> None:
        require(
            0 < self.noise_density < 1, f"noise_density must be in (0, 1), got {self.noise_density}"
        )
        require(self.mean_span >= 1, f"mean_span must be at least 1, got {self.mean_span}")


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


@plugin(SpanConfig, tokens={"sentinels"})
class Span(Corruption):
    """tokens -> (input, target), both without eos; every token is in exactly one of them."""

    def __init__(self, config: SpanConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.sentinels = tokenizer.vocab.sentinels

    def raw_length(self, seq_len: int) -> int:
        """The largest number of text tokens that fit in `seq_len`, as T5 sizes its rows.

        Raises ConfigError if the tokenizer has fewer sentinels than such a row has spans.
        """
        density = self.config.noise_density

        def n_spans(seq_len: int, mean: float) -> int:
            return noise_amounts(raw_length(seq_len, density, mean), density, mean)[1]

        mean = self.config.mean_span
        n_needed = n_spans(seq_len, mean)
        n = len(self.sentinels)
        if n_needed > n:
            longer = next(m for m in count(mean + 0.5, 0.5) if n_spans(seq_len, m) <= n)
            shorter = next(s for s in count(seq_len - 1, -1) if n_spans(s, mean) <= n)
            raise ConfigError(
                f"objective/corruption=span needs {n_needed} sentinels for data.seq_len={seq_len}, "
                f"objective.corruption.noise_density={density:g} and mean_span={mean:g}, and the "
                f"tokenizer has {n}.\n"
                f"  Train a tokenizer with tokenizer.n_sentinels={n_needed}, or choose "
                f"objective.corruption.mean_span={longer:g} or data.seq_len={shorter}."
            )
        return raw_length(seq_len, density, mean)

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        n = len(tokens)
        if n < 2:
            return tokens, tokens[:0]
        n_noise, n_spans = noise_amounts(n, self.config.noise_density, self.config.mean_span)
        assert n_spans <= len(self.sentinels), "`raw_length` refuses such rows"
        kept = segments(n - n_noise, n_spans, rng)
        removed = segments(n_noise, n_spans, rng)
        pieces = np.split(tokens, np.cumsum(np.column_stack((kept, removed)).ravel())[:-1])
        source: list[np.ndarray] = []
        target: list[np.ndarray] = []
        for i, sentinel in enumerate(self.sentinels[:n_spans]):
            mark = np.array([sentinel], tokens.dtype)
            source += [pieces[2 * i], mark]
            target += [mark, pieces[2 * i + 1]]
        return np.concatenate(source), np.concatenate(target)
