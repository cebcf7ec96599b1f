"""Attention with a temperature; shows how a mixer handles masks, positions and the KV cache.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2.
(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import MixerConfig
from etude.network import BranchOut, Context, Mixer, Parts, attend


@dataclass
class SketchConfig(MixerConfig):
    temperature: float = 1.0
    """Divides the attention logits; below 1 = sharper attention, above 1 = flatter."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")


@plugin(
    SketchConfig,
    provides={  # each has a law: etude check architecture/mixer=sketch
        Capability.NEXT_TOKEN,
        Capability.BOTH_SIDES,
        Capability.PREFIX,
        Capability.GENERATE,
        Capability.HIDDEN,
    },
)
class Sketch(Mixer):
    """out(softmax(q k' / (temperature sqrt(head_dim))) v)."""

    def __init__(self, config: SketchConfig, parts: Parts) -> None:
        super().__init__()
        self.head_dim = parts.head_dim
        self.scale = 1 / (config.temperature * parts.head_dim**0.5)
        width = parts.n_heads * parts.head_dim
        self.q = nn.Linear(parts.dim, width, bias=False)
        self.k = nn.Linear(parts.dim, width, bias=False)
        self.v = nn.Linear(parts.dim, width, bias=False)
        self.out = BranchOut(width, parts.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q, k, v = (self._split(project(x)) for project in (self.q, self.k, self.v))
        q = context.position.rotate(q, context)
        k = context.position.rotate(k, context)
        if context.cache is None:
            k, v = context.prepend_learned(k, v)
        else:
            k, v = context.cache.extend(context.layer, k, v, context.learned_kv)
        mixed = attend(q, k, v, context, scale=self.scale)
        return self.out(mixed.transpose(1, 2).flatten(2))  # batch seq heads*head_dim

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # batch heads seq head_dim
