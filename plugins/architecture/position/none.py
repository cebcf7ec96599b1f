"""No positions: a causal network can tell order from what each token is allowed to see.

Kazemnejad et al. 2023, https://arxiv.org/abs/2305.19466. Without a causal mask order is lost.
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
    """A Position that says nothing."""
    return Position()
