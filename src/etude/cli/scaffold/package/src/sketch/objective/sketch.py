"""Direct preference optimization with a focal loss, which down-weights easy pairs.

Lin et al. 2017 (focal loss), https://arxiv.org/abs/1708.02002, equation 4, per pair. Deviation: no
class weights. (Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective

from ._sketch_loss import sketch_loss


@dataclass
class SketchConfig(ReferenceConfig):
    gamma: float = 2.0
    """Focusing exponent; 0 = DPO, larger = less weight for easy pairs. Typical: 0.5-5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.gamma >= 0, f"gamma must be 0 or more, got {self.gamma}")


@plugin(
    SketchConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Sketch(PreferenceObjective[SketchConfig]):
    """Prefers chosen over rejected completions, mainly where the policy is wrong."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return sketch_loss(margin, self.config.gamma)
