"""Hybrid stack: most layers use one mixer, every n-th layer another, such as full attention.

Linear mixers read any distance at constant cost per token, and a few layers of attention restore
exact recall: Lieber et al. 2024 (Jamba), https://arxiv.org/abs/2403.19887; three to one as in
Qwen3-Next and Kimi Linear (https://arxiv.org/abs/2510.26692). Each slot is a mixer of its own:

    architecture/mixer=hybrid architecture/mixer/main=retention architecture.mixer.other_every=4

Positions are those of the whole stack: both mixers have to rotate keys of the same width.
"""

from dataclasses import dataclass, replace

from etude import Capability, option, plugin, require
from etude.config import MixerConfig, build
from etude.network import Mixer, Parts


@dataclass
class HybridConfig(MixerConfig):
    main: MixerConfig = option("gated_delta")
    other: MixerConfig = option("attention")
    other_every: int = 4
    """Every n-th layer, counted from 1, uses the other mixer. Typical: 4-8."""

    def __post_init__(self) -> None:
        require(self.other_every >= 2, f"other_every must be at least 2, got {self.other_every}")

    @property
    def key_dim(self) -> int | None:
        return self.other.key_dim if self.main.key_dim is None else self.main.key_dim


@plugin(HybridConfig, provides=set(Capability), example={"other_every": 2})
def hybrid(config: HybridConfig, parts: Parts) -> Mixer:
    """Builds the mixer of layer `parts.layer`. A network has the capabilities of both."""
    require(
        parts.n_layers >= config.other_every,
        f"other_every={config.other_every} needs at least as many layers, got {parts.n_layers}",
    )
    is_other = (parts.layer + 1) % config.other_every == 0
    chosen = config.other if is_other else config.main
    return build(chosen, replace(parts, key_dim=chosen.key_dim))
