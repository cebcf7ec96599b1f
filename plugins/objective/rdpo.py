"""Robust DPO: an unbiased estimate of DPO's loss when some labels are flipped.

Chowdhury et al. 2024, https://arxiv.org/abs/2403.00409, equation 11. Unlike the label smoothing of
objective=dpo it has no minimum: it keeps falling, below 0, as the margin of a clear pair grows.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective


@dataclass
class RdpoConfig(ReferenceConfig):
    flip_rate: float = 0.1
    """Fraction of the labels that are flipped, in [0, 0.5); 0 is DPO."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.flip_rate < 0.5, f"flip_rate must be in [0, 0.5), got {self.flip_rate}")


def rdpo_loss(margin: Float[Tensor, " pair"], flip_rate: float) -> Float[Tensor, " pair"]:
    """Its expectation over random flips of the label is DPO's loss of the true label."""
    right = -F.logsigmoid(margin)
    flipped = -F.logsigmoid(-margin)
    return ((1 - flip_rate) * right - flip_rate * flipped) / (1 - 2 * flip_rate)


@plugin(
    RdpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Rdpo(PreferenceObjective[RdpoConfig]):
    """DPO with its loss corrected for flipped labels."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return rdpo_loss(margin, self.config.flip_rate)
