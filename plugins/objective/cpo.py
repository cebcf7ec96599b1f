"""Contrastive preference optimisation: DPO without a reference, plus NLL on the chosen side.

Xu et al. 2024, https://arxiv.org/abs/2401.08417, equations 3 to 5. The NLL term is a mean over the
tokens of each chosen completion, where the paper sums them and the authors' code averages over all
tokens of a batch, which depends on how the batch is split.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import PreferenceConfig
from etude.objective import PreferenceObjective, preference_loss


@dataclass
class CpoConfig(PreferenceConfig):
    nll_weight: float = 1.0
    """Weight of the chosen completion's mean NLL per token. Typical: 0.1-1."""
    beta: float = 0.1
    """Scales the log-probabilities. Typical: 0.1-0.5."""

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
    """The reward is a completion's log-probability; NLL keeps the chosen one likely."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return preference_loss(margin)
