"""UL2's mixture of denoisers: short spans, long or many spans, and continuation, with mode tokens.

Tay et al. 2022, https://arxiv.org/abs/2205.05131, section 3.1.2 and table 1: R (regular) removes
15 % in spans of 3 or 8 tokens; X (extreme) removes 50 % in spans of 3, 8 or 64, or 15 % in spans of
64; S (sequential) removes the last 25 %. Each text starts with the token of its mode.
Spans are those of T5, see `_spans.py`, where the paper draws their lengths from a normal or uniform
distribution. Deviations: the mode tokens [R], [S] and [X] are the last three sentinels; of R and X,
the denoisers are equally likely; all rows have the same length before their corruption.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Int

from etude import ConfigError, plugin, require
from etude.config import CorruptionConfig
from etude.data import Tokenizer
from etude.objective import Corruption

from ._spans import noise_amounts, raw_length, replace_spans


class Mode(IntEnum):
    """A kind of denoising; the value is the place of its token before the end of the sentinels."""

    regular = 3
    sequential = 2
    extreme = 1


@dataclass(frozen=True)
class Denoiser:
    """How many tokens are removed, and in spans of which mean length; None = the end, as one."""

    density: float
    mean_span: int | None

    def spans_of(self, n: int) -> tuple[int, int]:
        """The numbers of removed tokens and of spans in a text of n >= 2 tokens."""
        return noise_amounts(n, self.density, float(self.mean_span or n))

    def raw_length(self, seq_len: int) -> int:
        """The largest number of text tokens whose input and target fit in `seq_len`."""
        return raw_length(seq_len, self.density, float(self.mean_span or seq_len**2))


DENOISERS = {
    Mode.regular: [Denoiser(0.15, 3), Denoiser(0.15, 8)],
    Mode.sequential: [Denoiser(0.25, None)],
    Mode.extreme: [Denoiser(0.5, 3), Denoiser(0.5, 8), Denoiser(0.15, 64), Denoiser(0.5, 64)],
}
"""Table 1 of the paper."""
SHORTEST = 4
"""Tokens of the shortest input: mode token, a kept token, a sentinel and eos."""


@dataclass
class Ul2Config(CorruptionConfig):
    regular: float = 2.0
    """Relative frequency of R, short spans. With 2, 1 and 4, the seven denoisers are equally
    likely; UL2R continues the training of a decoder with 1, 2 and 1."""
    sequential: float = 1.0
    """Relative frequency of S, which predicts the last quarter of the text."""
    extreme: float = 4.0
    """Relative frequency of X, long spans or half of the text."""

    def __post_init__(self) -> None:
        shares = self.shares
        require(
            all(share >= 0 for share in shares) and sum(shares) > 0,
            f"regular, sequential and extreme must be 0 or more, and not all 0, got {shares}",
        )

    @property
    def shares(self) -> list[float]:
        """The relative frequencies, in the order of `Mode`."""
        return [self.regular, self.sequential, self.extreme]


@plugin(Ul2Config, tokens={"sentinels"})
class Ul2(Corruption):
    """tokens -> (mode token and input, target), both without eos."""

    def __init__(self, config: Ul2Config, tokenizer: Tokenizer) -> None:
        self.sentinels = tokenizer.vocab.sentinels
        self.chances = np.array(config.shares) / sum(config.shares)
        drawn = zip(Mode, config.shares, strict=True)
        self.denoisers = [d for mode, share in drawn if share for d in DENOISERS[mode]]

    def raw_length(self, seq_len: int) -> int:
        """The largest number of text tokens that fit in `seq_len`, however they are corrupted.

        Raises ConfigError if the tokenizer has fewer sentinels than that needs.
        """
        if seq_len < SHORTEST:
            raise ConfigError(
                f"objective/corruption=ul2 needs at least {SHORTEST} tokens for each of input and "
                f"target, and there is room for {seq_len}.\n  Raise data.seq_len."
            )
        n = min(denoiser.raw_length(seq_len - 1) for denoiser in self.denoisers)
        n_needed = max(d.spans_of(n)[1] for d in self.denoisers) + len(Mode)
        if n_needed > len(self.sentinels):
            raise ConfigError(
                f"objective/corruption=ul2 needs {n_needed} sentinels for inputs of {seq_len} "
                f"tokens, and the tokenizer has {len(self.sentinels)}.\n"
                f"  Train a tokenizer with tokenizer.n_sentinels={n_needed}, or lower data.seq_len."
            )
        return n

    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        if len(tokens) < 2:
            return tokens, tokens[:0]
        mode = rng.choice(list(Mode), p=self.chances)
        denoiser = DENOISERS[mode][rng.integers(len(DENOISERS[mode]))]
        mark = np.array([self.sentinels[-mode]], tokens.dtype)
        amounts = denoiser.spans_of(len(tokens))
        source, target = replace_spans(tokens, *amounts, self.sentinels, rng)
        return np.concatenate((mark, source)), target
