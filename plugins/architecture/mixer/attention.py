"""Scaled dot-product attention with several heads, which may share keys and values.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2; grouped-query attention:
Ainslie et al. 2023, https://arxiv.org/abs/2305.13245; normalised queries and keys: Dehghani et al.
2023, https://arxiv.org/abs/2302.05442, with RMSNorm as in Qwen3.
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
    qkv_bias: bool = False
    """Whether queries, keys and values have biases, as in GPT-2, BERT and Qwen2."""
    out_bias: bool = False
    """Whether the output has a bias, as in GPT-2 and BERT."""
    head_dim: int | None = None
    """Width of a head; null = dim / n_heads."""
    qk_norm: bool = False
    """Normalise each query and key over its head (RMSNorm), as in Qwen3."""
    qk_norm_eps: float = 1e-6
    """Added to the mean square of a query or key."""

    def __post_init__(self) -> None:
        require(
            self.head_dim is None or self.head_dim >= 1,
            f"head_dim must be at least 1 or null, got {self.head_dim}",
        )
        require(self.qk_norm_eps > 0, f"qk_norm_eps must be positive, got {self.qk_norm_eps}")
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
        self.head_dim = config.head_dim or parts.head_dim
        q_dim = parts.n_heads * self.head_dim
        kv_dim = q_dim // config.queries_per_kv
        self.q = nn.Linear(parts.dim, q_dim, config.qkv_bias)
        self.k = nn.Linear(parts.dim, kv_dim, config.qkv_bias)
        self.v = nn.Linear(parts.dim, kv_dim, config.qkv_bias)
        self.out = BranchOut(q_dim, parts.dim, config.out_bias)
        if config.qk_norm:
            self.q_norm: nn.Module = nn.RMSNorm(self.head_dim, config.qk_norm_eps)
            self.k_norm: nn.Module = nn.RMSNorm(self.head_dim, config.qk_norm_eps)
        else:
            self.q_norm = self.k_norm = nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q = context.position.rotate(self.q_norm(self._split(self.q(x))), context)
        k, v = self._keys_values(x, context)
        mixed = attend(q, k, v, context)  # batch heads seq head_dim
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _keys_values(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if context.memory is not None:
            states = context.memory.states
            if context.cache is None:
                return self._project(states)
            return context.cache.cross(self.layer, lambda: self._project(states))
        k, v = self._project(x)
        k = context.position.rotate(k, context)
        return (k, v) if context.cache is None else context.cache.extend(self.layer, k, v)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.k_norm(self._split(self.k(x))), self._split(self.v(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # batch heads seq head_dim
