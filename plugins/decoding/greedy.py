"""Greedy decoding: always the likeliest token."""

from dataclasses import dataclass

from etude import plugin
from etude.config import DecodingConfig
from etude.network import Greedy


@dataclass
class GreedyConfig(DecodingConfig):
    """No knobs of its own."""


@plugin(GreedyConfig)
def greedy(config: GreedyConfig) -> Greedy:
    """The argmax of the logits, those of tokens already there lowered by the penalty."""
    return Greedy(config.repetition_penalty)
