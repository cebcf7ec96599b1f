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

from ._spans import noise_amounts, raw_length, replace_spans


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
        return replace_spans(tokens, n_noise, n_spans, self.sentinels, rng)
