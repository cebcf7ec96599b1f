"""A single device, in the current process."""

from dataclasses import dataclass

from etude import plugin
from etude.config import StrategyConfig


@dataclass
class SingleConfig(StrategyConfig):
    """No knobs."""


@plugin(SingleConfig, max_devices=1)
def single(config: SingleConfig) -> str:
    """Lightning's default strategy for one device."""
    return "auto"
