"""No scaling: rotary frequencies are used as trained.

Su et al. 2021, https://arxiv.org/abs/2104.09864, section 3.2.2.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import ScalingConfig
from etude.network import Scaling


@dataclass
class NoneConfig(ScalingConfig):
    """No knobs."""


@plugin(NoneConfig)
def none(config: NoneConfig) -> Scaling:
    """Frequencies theta^(-2i / head_dim)."""
    return Scaling()
