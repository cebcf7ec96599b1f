"""Distributed data parallel: each device has the whole network and a share of the global batch.

Li et al. 2020, https://arxiv.org/abs/2006.15704; torch's DistributedDataParallel through Lightning.
"""

from dataclasses import dataclass
from datetime import timedelta

from lightning.pytorch.strategies import DDPStrategy

from etude import plugin
from etude.config import StrategyConfig


@dataclass
class DdpConfig(StrategyConfig):
    find_unused: bool = False
    """Search for parameters without a gradient each step; needed if some are unused, but slower."""


@plugin(DdpConfig)
def ddp(config: DdpConfig, rank_timeout: timedelta) -> DDPStrategy:
    """One process per device; DDP averages gradients, and the step undoes this to keep sums."""
    return DDPStrategy(find_unused_parameters=config.find_unused, timeout=rank_timeout)
