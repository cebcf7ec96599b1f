"""Best of n: samples several completions, and returns the one that is most likely per token.

Adiwardana et al. 2020 (Meena), https://arxiv.org/abs/2001.09977, section 2.3.
(Replace this with your source and your deviations from it.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Capability, plugin, require
from etude.config import GeneratorConfig
from etude.data import Tokenizer
from etude.network import (
    Autoregressive,
    GeneratedToken,
    GenerationOptions,
    Generator,
    Network,
    Request,
)


@dataclass
class SketchConfig(GeneratorConfig):
    n: int = 4
    """Completions to sample for each request. Typical: 2-20."""

    def __post_init__(self) -> None:
        require(self.n >= 1, f"n must be at least 1, got {self.n}")

    @property
    def samples(self) -> bool:
        return False  # the best of several does not follow the distribution of `decoding`


@plugin(SketchConfig, needs={Capability.GENERATE})
class Sketch(Generator):
    """Ranks samples by their mean log p per token, in nats."""

    def __init__(self, config: SketchConfig, tokenizer: Tokenizer) -> None:
        self.config = config

    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        n = self.config.n
        copies = [
            Request(request.prompt, rng, request.max_new_tokens)
            for request in requests
            for rng in request.rng.spawn(n)
        ]
        samples = Autoregressive().generate(network, copies, options)
        for number in range(len(requests)):
            group = samples[number * n : (number + 1) * n]
            best = max(group, key=lambda row: sum(row.log_probs) / max(1, len(row.ids)))
            last = len(best.ids) - 1
            yield [
                GeneratedToken(number, token, log_prob, best.ended and place == last)
                for place, (token, log_prob) in enumerate(
                    zip(best.ids, best.log_probs, strict=True)
                )
            ]
