"""Rows of raw text start short, and double until they have data.seq_len tokens.

Press et al. 2021 (Shortformer), https://arxiv.org/abs/2012.15832, section 4; Li et al. 2022,
https://arxiv.org/abs/2108.06084. A row is cut into shorter ones, so that a step has the same
tokens, and each is predicted once; Li et al. drop the rest of the row instead. Both papers report
faster and more stable training. Validation uses whole rows.
"""

import math
from dataclasses import dataclass, replace

from etude import plugin, require
from etude.config import ArchitectureConfig, DataConfig, RampConfig, TrainerConfig, text_config
from etude.objective import Ramp, StepSize


@dataclass
class LengthConfig(RampConfig):
    start: int = 32
    """Tokens of a row in the first steps; below data.seq_len, at least 2. Typical: 32-256."""
    steps: int = 1000
    """Steps until rows have data.seq_len tokens; each doubling takes an equal share of them."""

    def check(
        self, trainer: TrainerConfig, data: DataConfig, architecture: ArchitectureConfig
    ) -> None:
        text = text_config(data)
        is_packed = text is not None and text.pack
        require(
            is_packed, "only packed rows of raw text can be cut; set data.pack=true, or remove it"
        )
        length = data.seq_len
        require(
            2 <= self.start < length,
            f"start must be 2 or more and below data.seq_len={length}, got {self.start}",
        )


@plugin(LengthConfig, example={"steps": 3})
def length(config: LengthConfig) -> Ramp:
    """Start 2^k tokens in the k-th of the equal stages, from 0."""

    def size_at(step: int, size: StepSize) -> StepSize:
        n_stages = math.ceil(math.log2(size.length / config.start))
        stage = n_stages * step // config.steps
        return replace(size, length=min(size.length, config.start * 2**stage))

    return size_at
