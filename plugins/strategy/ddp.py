"""Distributed data parallel: every device holds the whole network and reads its share of a window.

Li et al. 2020, https://arxiv.org/abs/2006.15704; torch's DistributedDataParallel through Lightning.
"""

from dataclasses import dataclass

from lightning.pytorch.strategies import DDPStrategy

from etude import plugin
from etude.config import StrategyConfig


@dataclass
class DdpConfig(StrategyConfig):
    find_unused: bool = False
    """Look for parameters without a gradient each step; needed when some sit out, costs time."""


@plugin(DdpConfig)
def ddp(config: DdpConfig) -> DDPStrategy:
    """One process a device; gradients are averaged, which the step undoes to keep sums."""
    return DDPStrategy(find_unused_parameters=config.find_unused)
