"""SimPO: the reward is the mean log-probability per token; it needs no reference policy.

Meng et al. 2024, https://arxiv.org/abs/2405.14734, equation 6.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import PreferenceConfig, Reduction
from etude.objective import PreferenceObjective, preference_loss


@dataclass
class SimpoConfig(PreferenceConfig):
    beta: float = 2.0
    """Scales the mean log-probability per token. Typical: 2-10."""
    gamma: float = 1.0
    """Target margin between chosen and rejected rewards. Typical: 0.3-1.6 times beta."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
        require(self.gamma >= 0, f"gamma must be at least 0, got {self.gamma}")


@plugin(
    SimpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Simpo(PreferenceObjective[SimpoConfig]):
    """The reward is the scaled mean log-probability; the loss has a target margin."""

    reduction = Reduction.mean

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return preference_loss(margin - self.config.gamma)
