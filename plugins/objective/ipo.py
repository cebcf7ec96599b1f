"""Identity preference optimisation: regresses the preference margin to a finite target.

Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 17, whose tau is called beta here, as
in DPO. `log_prob=sum` is the paper's form, which the authors of DPO also compute; TRL and others
compute `log_prob=mean`, which IPO's authors say their results use. The margin's target is 1 / (2
beta) in nats either way, so the two need different betas.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective


@dataclass
class IpoConfig(ReferenceConfig):
    pass


def ipo_loss(log_odds: Float[Tensor, " pair"], beta: float) -> Float[Tensor, " pair"]:
    """Squared difference of the log-odds from their target 1 / (2 beta), in nats."""
    return (log_odds - 1 / (2 * beta)) ** 2


@plugin(
    IpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Ipo(PreferenceObjective[IpoConfig]):
    """Regresses the log-odds of chosen over rejected, relative to a copy of the initial policy."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return ipo_loss(margin / self.config.beta, self.config.beta)
