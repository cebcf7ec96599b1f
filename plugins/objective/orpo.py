"""ORPO: fine-tuning on the chosen completion, with a penalty on the odds of the rejected one.

Hong et al. 2024, https://arxiv.org/abs/2403.07691, equations 5 to 7. No reference policy and no
prior fine-tuning are needed. A completion's probability is the geometric mean of its tokens'.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import PreferenceConfig, Reduction
from etude.objective import PreferenceObjective, preference_loss


@dataclass
class OrpoConfig(PreferenceConfig):
    nll_weight: float = 1.0
    """Weight of the chosen completion's mean NLL per token, the fine-tuning term."""
    odds_weight: float = 0.1
    """Weight of the odds-ratio penalty, lambda in the paper. Typical: 0.1-1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.odds_weight > 0, f"odds_weight must be positive, got {self.odds_weight}")


def log_odds(log_prob: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log(p / (1 - p)) from log p, accurate both near p = 0 and near p = 1.

    Mächler 2012, https://cran.r-project.org/web/packages/Rmpfr/vignettes/log1mexp-note.pdf.
    """
    near_0 = log_prob.clamp(max=-math.log(2))  # keeps each branch in its valid range
    near_1 = log_prob.clamp(min=-math.log(2), max=-torch.finfo(log_prob.dtype).tiny)
    rest = torch.where(
        log_prob < -math.log(2), torch.log1p(-near_0.exp()), (-torch.expm1(near_1)).log()
    )
    return log_prob - rest


@plugin(
    OrpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=8e-6,
    data="docs_preferences",
)
class Orpo(PreferenceObjective[OrpoConfig]):
    """Raises the odds of chosen over rejected completions while fine-tuning on the chosen ones."""

    reduction = Reduction.mean

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return log_odds(log_ratio)

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.odds_weight * preference_loss(margin)
