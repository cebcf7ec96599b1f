"""Scaled dot-product attention with several heads, which may share keys and values.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2; grouped-query attention:
Ainslie et al. 2023, https://arxiv.org/abs/2305.13245.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.network import Context, Mixer, Parts, attend
from etude.schema import MixerConfig, require
from etude.stack import BranchOut


@dataclass
class AttentionConfig(MixerConfig):
    queries_per_kv: int = 1
    """Query heads that share one key and value head: 1 = multi-head, n_heads = multi-query."""
    bias: bool = False
    """Whether the projections have biases, as GPT-2's and BERT's have."""

    def __post_init__(self) -> None:
        require(
            self.queries_per_kv >= 1,
            f"queries_per_kv must be at least 1, got {self.queries_per_kv}",
        )


@plugin(AttentionConfig)
class Attention(Mixer):
    """out(softmax(q k' / sqrt(head_dim)) v), over what the context lets be seen."""

    def __init__(self, config: AttentionConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.n_heads % config.queries_per_kv == 0,
            f"queries_per_kv must divide n_heads, got {config.queries_per_kv} for {parts.n_heads}",
        )
        self.layer = parts.layer
        self.head_dim = parts.head_dim
        kv_dim = parts.dim // config.queries_per_kv
        self.q = nn.Linear(parts.dim, parts.dim, config.bias)
        self.k = nn.Linear(parts.dim, kv_dim, config.bias)
        self.v = nn.Linear(parts.dim, kv_dim, config.bias)
        self.out = BranchOut(parts.dim, parts.dim, config.bias)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q = context.position.rotate(self._split(self.q(x)), context)
        k, v = self._keys_values(x, context)
        mixed = attend(q, k, v, context)  # batch heads seq head_dim
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _keys_values(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if context.memory is not None:
            states = context.memory.states
            if context.cache is None:
                return self._split(self.k(states)), self._split(self.v(states))
            return context.cache.cross(
                self.layer, lambda: (self._split(self.k(states)), self._split(self.v(states)))
            )
        k = context.position.rotate(self._split(self.k(x)), context)
        v = self._split(self.v(x))
        return (k, v) if context.cache is None else context.cache.extend(self.layer, k, v)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # batch heads seq head_dim
