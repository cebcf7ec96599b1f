"""Drops documents that a trained run finds too improbable, or too probable, in bits per byte.

Wenzek et al. 2020 (CCNet), https://arxiv.org/abs/1911.00359, section 4, score with a language model
of Wikipedia: a high perplexity marks text unlike it, a very low one boilerplate. Deviations: a
decoder instead of a 5-gram model, bits per byte instead of perplexity per token, so that bounds do
not depend on the tokenizer, and bounds instead of terciles. Scores are computed in fp32 on the CPU,
in batches of a fixed size; processors may differ in the last digits.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from omegaconf import MISSING

from etude import Capability, ConfigError, Record, plugin, require
from etude.config import FilterConfig, capabilities_of, max_positions_of
from etude.data import Drop, Filter, document_of
from etude.formats import read_model
from etude.network import Network
from etude.objective import Ids, sequence_log_prob

BATCH = 16
"""Windows per forward pass."""


@dataclass
class PerplexityConfig(FilterConfig):
    run: str = MISSING
    """The model that scores: a run folder or a Hugging Face folder of a decoder."""
    max_bits: float = 3.0
    """Most bits per byte of a document. Typical: 1.2 to 2 times the run's val/bits_per_byte."""
    min_bits: float = 0.0
    """Least bits per byte of a document, which boilerplate and repetition are below. Typical:
    0-0.5; 0 = no bound."""

    def __post_init__(self) -> None:
        require(
            0 <= self.min_bits < self.max_bits,
            f"min_bits must be 0 or more, and less than max_bits={self.max_bits:g}, "
            f"got {self.min_bits:g}",
        )

    @property
    def teacher(self) -> str:
        return self.run


@plugin(PerplexityConfig, example={"run": "{run}"})
class Perplexity(Filter[PerplexityConfig]):
    """Drops a document outside the bounds; each token is predicted from its window alone."""

    observes = True

    def __init__(self, config: PerplexityConfig) -> None:
        super().__init__(config)
        self._model = read_model(config.run)
        able = capabilities_of(self._model.architecture)
        if Capability.GENERATE not in able or Capability.SOURCE_TARGET in able:
            raise ConfigError(
                f"filter.perplexity.run={config.run}: its network is not a decoder, so it does not "
                "predict a text token by token.\n  Use a run of objective=clm."
            )
        lengths = self._model.seq_len, max_positions_of(self._model.architecture)
        self._window = min((n for n in lengths if n is not None), default=1024)
        self._scores: Iterator[float] = iter(())

    @cached_property
    def _network(self) -> Network:
        return self._model.network().float().requires_grad_(False).eval()

    def observe(self, records: Iterable[Record]) -> None:
        """Scores all documents, a batch of windows at a time."""
        nats: list[float] = []
        sizes: list[float] = []
        windows = self._windows(records, nats, sizes)
        while part := [*islice(windows, BATCH)]:
            pairs = [pair for _, pair in part]
            found = sequence_log_prob(self._network, self._network.answer(pairs))
            for (number, _), log_prob in zip(part, found.tolist(), strict=True):
                nats[number] -= log_prob
        scores = zip(nats, sizes, strict=True)
        self._scores = iter([n / math.log(2) / size if size else 0.0 for n, size in scores])

    def decide(self, record: Record) -> Drop | None:
        bits = next(self._scores)
        if bits > self.config.max_bits:
            return Drop("improbable", round(bits, 4), self.config.max_bits)
        if 0 < bits < self.config.min_bits:
            return Drop("too probable", round(bits, 4), self.config.min_bits)
        return None

    def fingerprint(self) -> str:
        """The digest of the model."""
        return self._model.identity

    def _windows(
        self, records: Iterable[Record], nats: list[float], sizes: list[float]
    ) -> Iterator[tuple[int, tuple[Ids, Ids]]]:
        """Yields each window with the number of its document, and begins the lists of scores.

        A size is the share of the document's bytes that is predicted: without a token before the
        text, its first token is not. Windows overlap by one token.
        """
        tokenizer = self._model.tokenizer
        for number, record in enumerate(records):
            text = document_of(record)
            ids = tokenizer.encode(text).tolist()
            whole = [*tokenizer.vocab.opening, *ids]
            n_given = max(1, len(tokenizer.vocab.opening))
            nats.append(0.0)
            n_predicted = max(0, len(whole) - n_given)
            sizes.append(len(text.encode()) * n_predicted / max(1, len(ids)))
            for start in range(0, len(whole) - n_given, self._window):
                window = whole[start : start + self._window + 1]
                given = n_given if start == 0 else 1
                yield number, (window[:given], window[given:])
