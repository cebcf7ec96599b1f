"""One token at a time, left to right, each chosen by `decoding`.

It declares no needs, because it is the default of every experiment: with a network that writes no
text, such as an encoder, nothing calls it.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import GeneratorConfig
from etude.data import Tokenizer
from etude.network import Autoregressive


@dataclass
class AutoregressiveConfig(GeneratorConfig):
    refill: bool = False
    """Continuous batching: once half of a batch has ended, waiting requests take its place; false =
    a batch ends before the next begins. The text is the same; passes with fewer rows are saved, and
    unfinished rows are read again."""

    @property
    def lockstep(self) -> bool:
        return not self.refill


@plugin(AutoregressiveConfig)
def autoregressive(config: AutoregressiveConfig, tokenizer: Tokenizer) -> Autoregressive:
    """Builds the generator that the core uses wherever none can be chosen."""
    return Autoregressive(config.refill)
