"""Contrastive preference optimisation: DPO without its reference, beside imitation of the chosen.

Xu et al. 2024, https://arxiv.org/abs/2401.08417, equations 3 to 5. The imitation term is a mean
over the tokens of each chosen completion, where the paper has their sum and the authors' program a
mean over all tokens of a batch, which depends on how the batch is cut.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.objective import PreferenceConfig, PreferenceObjective, preference_loss


@dataclass
class CpoConfig(PreferenceConfig):
    nll_weight: float = 1.0
    """Weight of the chosen completion's own negative log-likelihood a token; 0.1 to 1."""
    beta: float = 0.1
    """Scales the log-probabilities: 0.1 to 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")


@plugin(
    CpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=1e-6,
    data="docs_preferences",
)
class Cpo(PreferenceObjective[CpoConfig]):
    """Rewards the log-probability of a completion, and keeps that of the chosen one up."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return preference_loss(margin)
