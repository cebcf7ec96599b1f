"""Hinge loss on preferences: push a pair apart until its margin is 1, and then let it be.

Zhao et al. 2023 (SLiC-HF), https://arxiv.org/abs/2305.10425, equation 2, in the form of Liu et al.
2023 (RSO), https://arxiv.org/abs/2309.06657, equation 10: the margin is DPO's, relative to a
reference, and the loss keeps no regularizer of its own.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin
from etude.objective import PreferenceObjective, ReferenceConfig


@dataclass
class HingeConfig(ReferenceConfig):
    pass


def hinge_loss(margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """How much each margin lacks to 1."""
    return (1 - margin).relu()


@plugin(
    HingeConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Hinge(PreferenceObjective[HingeConfig]):
    """Leaves pairs alone that are far enough apart."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return hinge_loss(margin)
