"""Greedy decoding: always picks the most likely token."""

from dataclasses import dataclass

from etude import plugin
from etude.config import DecodingConfig
from etude.data import Tokenizer
from etude.network import Greedy


@dataclass
class GreedyConfig(DecodingConfig):
    """No knobs of its own."""

    @property
    def is_random(self) -> bool:
        return False


@plugin(GreedyConfig)
def greedy(config: GreedyConfig, tokenizer: Tokenizer) -> Greedy:
    """The argmax of the logits, after the penalties that all decodings share."""
    return Greedy(config)
