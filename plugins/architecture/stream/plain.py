"""Runs every layer once, in order, on one residual stream.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import StreamConfig
from etude.network import InOrder, StreamParts


@dataclass
class PlainConfig(StreamConfig):
    """No knobs."""


@plugin(PlainConfig)
def plain(config: PlainConfig, parts: StreamParts) -> InOrder:
    """X -> layer 0 -> layer 1 -> ..."""
    return InOrder()
