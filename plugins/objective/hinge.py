"""Hinge loss on preferences: pushes a pair apart until its margin reaches 1.

Zhao et al. 2023 (SLiC-HF), https://arxiv.org/abs/2305.10425, equation 2, in the form of Liu et al.
2023 (RSO), https://arxiv.org/abs/2309.06657, equation 10: the margin is DPO's, relative to a
reference policy, and there is no separate regulariser.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective


@dataclass
class HingeConfig(ReferenceConfig):
    pass


def hinge_loss(margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """max(0, 1 - margin) for each pair."""
    return (1 - margin).relu()


@plugin(
    HingeConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Hinge(PreferenceObjective[HingeConfig]):
    """The loss is 0 for pairs whose margin is at least 1."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return hinge_loss(margin)
