"""Exponential loss on preferences: the penalty of a wrongly ordered pair grows exponentially.

Freund & Schapire 1997 (AdaBoost), https://doi.org/10.1006/jcss.1997.1504, applied to DPO's margin.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from etude import Capability, Preference, plugin, require
from etude.config import ReferenceConfig
from etude.objective import PreferenceObjective


@dataclass
class SketchConfig(ReferenceConfig):
    sharpness: float = 1.0
    """Factor of the margin; larger = the worst pairs dominate. Typical: 0.5-2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sharpness > 0, f"sharpness must be positive, got {self.sharpness}")


def sketch_loss(margin: Float[Tensor, " pair"], sharpness: float) -> Float[Tensor, " pair"]:
    """Returns exp(-sharpness * margin) of each pair."""
    return (-sharpness * margin).exp()


@plugin(
    SketchConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Sketch(PreferenceObjective[SketchConfig]):
    """The margin is beta times the log-ratio of policy to reference, chosen minus rejected."""

    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return self.config.beta * log_ratio

    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return sketch_loss(margin, self.config.sharpness)
