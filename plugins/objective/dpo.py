"""Direct preference optimisation: trains on preference pairs, without a reward model.

Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7.
Label smoothing: Mitchell 2023, https://ericmitchell.ai/cdpo.pdf; objective=rdpo corrects for flips
instead. `log_prob=mean` is the length-normalised loss of Tülu 3, https://arxiv.org/abs/2411.15124,
with beta 5; `nll_weight` is that of https://arxiv.org/abs/2404.19733, a mean over each completion.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective, preference_loss


@dataclass
class DpoConfig(ReferenceConfig):
    label_smoothing: float = 0.0
    """Assumed probability that a label is flipped, in [0, 0.5); 0 is plain DPO."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.label_smoothing < 0.5,
            f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}",
        )


@plugin(
    DpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Dpo(PreferenceObjective[DpoConfig]):
    """Raises chosen over rejected completions, relative to a frozen copy of the initial policy."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return preference_loss(margin, self.config.label_smoothing)
