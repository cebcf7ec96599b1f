"""Perplexity of held-out text: exp of the mean nats per token.

Jelinek et al. 1977, https://doi.org/10.1121/1.2016299. It compares models with the same tokenizer
alone; evaluator=bits_per_byte compares any. The mean is over all tokens, not over documents, and
the end of a document is not predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import Capability, Text, plugin
from etude.evaluation import Metric

from ._windows import Windows, WindowsConfig


@dataclass
class PerplexityConfig(WindowsConfig):
    """No knobs of its own."""


@plugin(PerplexityConfig, reads={Text}, needs={Capability.NEXT_TOKEN})
class Perplexity(Windows[PerplexityConfig]):
    """exp(-log p of all documents / their tokens), and the mean before exp."""

    @property
    def metrics(self) -> Sequence[Metric]:
        loss = Metric(
            "nats_per_token", "nats", "tokens", higher_is_better=False, needs_same_tokenizer=True
        )
        perplexity = Metric(
            "perplexity",
            "nats",
            "tokens",
            exponential=True,
            higher_is_better=False,
            needs_same_tokenizer=True,
        )
        return [perplexity, loss]
