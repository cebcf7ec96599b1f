"""Greedy decoding: always picks the most likely token."""

from dataclasses import dataclass

from etude import plugin
from etude.config import DecodingConfig
from etude.network import Greedy


@dataclass
class GreedyConfig(DecodingConfig):
    """No knobs of its own."""


@plugin(GreedyConfig)
def greedy(config: GreedyConfig) -> Greedy:
    """The argmax of the logits, after the repetition penalty on tokens already present."""
    return Greedy(config.repetition_penalty)
