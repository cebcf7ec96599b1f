"""No positional encoding: a causal network can infer order from its attention mask.

Kazemnejad et al. 2023, https://arxiv.org/abs/2305.19466. Without a causal mask, order is lost.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import PositionConfig
from etude.network import Parts, Position


@dataclass
class NoneConfig(PositionConfig):
    """No knobs of its own."""


@plugin(NoneConfig)
def none(config: NoneConfig, parts: Parts) -> Position:
    """Returns a position encoding that adds nothing."""
    return Position()
