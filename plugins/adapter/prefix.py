"""Prefix tuning: learned keys and values in every layer, visible to every token.

Li & Liang 2021, https://arxiv.org/abs/2101.00190, section 4.2.
Deviations: keys and values are learned directly, not through an MLP (their section 4.3), so use a
learning rate near 1e-2; they have no position, so relative biases and rotations do not affect
them; cross-attention has none unless `targets` includes it. Values start at 0.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.network import AdapterLayer, Context, Mixer, Network, innermost, insert


@dataclass
class PrefixConfig(AdapterConfig):
    length: int = 16
    """Number of learned key-value pairs per head. Typical: 10-200."""
    std: float = 0.02
    """Standard deviation of the initial keys."""
    targets: list[str] = field(default_factory=lambda: ["*.mixer"])
    """Name patterns of the mixers; add "*.cross" for cross-attention."""

    def __post_init__(self) -> None:
        require(self.length >= 1, f"length must be at least 1, got {self.length}")
        require(self.std >= 0, f"std must be 0 or more, got {self.std}")
        require(len(self.targets) > 0, "targets is empty: there is nothing to adapt")


@plugin(PrefixConfig, starts_as_base=False)
def prefix(config: PrefixConfig, network: Network) -> Network:
    """Adds learned keys and values to every target."""
    return insert(
        network,
        config.targets,
        lambda module: isinstance(module, Mixer),
        lambda base: Prefix(config, base),
    )


class Prefix(AdapterLayer):
    """A mixer with additional learned keys and values."""

    def __init__(self, config: PrefixConfig, base: nn.Module) -> None:
        super().__init__(base)
        mixer = innermost(base)
        assert isinstance(mixer, Mixer)
        require(
            mixer.kv_shape is not None,
            f"{type(mixer).__name__} has no keys and values to prepend to. "
            "Use architecture/mixer=attention",
        )
        assert mixer.kv_shape is not None
        heads, head_dim = mixer.kv_shape
        like = next(base.parameters())
        shape = (heads, config.length, head_dim)
        self.keys = nn.Parameter(config.std * torch.randn(shape).to(like))
        self.values = nn.Parameter(like.new_zeros(shape))

    def forward_adapted(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        return self.base(x, replace(context, learned_kv=(self.keys, self.values)))
