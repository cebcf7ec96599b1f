"""Greedy decoding: always the likeliest token."""

from dataclasses import dataclass

from etude import plugin
from etude.generation import Greedy
from etude.schema import DecodingConfig


@dataclass
class GreedyConfig(DecodingConfig):
    """No knobs."""


@plugin(GreedyConfig)
def greedy(config: GreedyConfig) -> Greedy:
    """The argmax of the logits."""
    return Greedy()
