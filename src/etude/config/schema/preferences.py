"""Base configs of objectives that train on pairs of completions."""

from dataclasses import dataclass
from enum import Enum

from etude.config.schema.plugins import ComparisonConfig, require


class Reduction(Enum):
    """How the token log-probabilities of a completion are combined."""

    sum = "sum"
    mean = "mean"


@dataclass
class PreferenceConfig(ComparisonConfig):
    """Options of every objective on pairs."""

    nll_weight: float = 0.0
    """Weight of the chosen completion's negative log-likelihood per token, which keeps it likely;
    0 disables it. Usual range 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.nll_weight >= 0, f"nll_weight must be at least 0, got {self.nll_weight}")


@dataclass
class ReferenceConfig(PreferenceConfig):
    """Options of objectives on pairs that use a reference policy."""

    beta: float = 0.1
    """KL penalty strength: larger values keep the policy closer to the reference policy. Usual
    range 0.01 to 0.5."""
    log_prob: Reduction = Reduction.sum
    """How token log-probabilities become one per completion: sum, or mean to remove the effect of
    length, which needs a larger beta."""
    precompute: bool = False
    """Whether to compute all reference log-probabilities in one pass before the first step and then
    free the reference policy. They are cached by weights and ids."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
