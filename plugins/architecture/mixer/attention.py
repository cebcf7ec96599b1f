"""Multi-head scaled dot-product attention, optionally with grouped queries or a sliding window.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.2; grouped-query attention:
Ainslie et al. 2023, https://arxiv.org/abs/2305.13245; normalised queries and keys: Dehghani et al.
2023, https://arxiv.org/abs/2302.05442, with RMSNorm as in Qwen3; windows: Beltagy et al. 2020,
https://arxiv.org/abs/2004.05150, alternating with global layers as in ModernBERT; soft-capping:
Gemma team 2024, https://arxiv.org/abs/2408.00118, section 2; output gate: Qiu et al. 2025,
https://arxiv.org/abs/2505.06708, as in Qwen3-Next; sinks: Xiao et al. 2023,
https://arxiv.org/abs/2309.17453, section 3.3, as learned logits as in gpt-oss; value residual: Zhou
et al. 2024 (ResFormer, learnable), https://arxiv.org/abs/2410.17897. Deviation: its first layer
also has the two weights, which both scale its own values.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, only_with, plugin, require
from etude.config import HeadsConfig
from etude.network import BranchOut, Context, Mixer, Parts, QueryIn, attend


@dataclass
class AttentionConfig(HeadsConfig):
    queries_per_kv: int = 1
    """Query heads per key-value head: 1 = multi-head, n_heads = multi-query attention."""
    qkv_bias: bool = False
    """Whether the query, key and value projections have biases, as in GPT-2, BERT and Qwen2."""
    out_bias: bool = False
    """Whether the output projection has a bias, as in GPT-2 and BERT."""
    scaled: bool = True
    """Whether logits are divided by sqrt(head_dim); false in T5."""
    qk_norm: bool = False
    """Apply RMSNorm to queries and keys within each head, as in Qwen3."""
    qk_norm_eps: float = only_with("qk_norm", 1e-6)
    """Epsilon of qk_norm, added to the mean square."""
    gate: bool = False
    """Multiply the output of each head by a sigmoid of a projection of x, as in Qwen3-Next."""
    sinks: bool = False
    """Add a learned logit per head to the softmax, whose value is 0, as in gpt-oss."""
    value_residual: bool = False
    """Mix the values of the first layer into those of each layer, by two learned weights."""
    softcap: float | None = None
    """Soft cap c on the logits, applied as c tanh(logit / c); null = no cap. Gemma 2: 50."""
    window: int | None = None
    """Attention window: keys less than this many tokens away; null = all. Mistral: 4096."""
    global_layer_every: int | None = only_with("window", None)
    """Every n-th layer, from the first, attends globally; null = none does. ModernBERT: 3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.qk_norm_eps > 0, f"qk_norm_eps must be positive, got {self.qk_norm_eps}")
        require(
            self.softcap is None or self.softcap > 0,
            f"softcap must be positive or null, got {self.softcap}",
        )
        for name in ("queries_per_kv", "window", "global_layer_every"):
            value = vars(self)[name]
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")


def prepend_sink(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads keys head_dim"],
    v: Float[Tensor, "batch kv_heads keys head_dim"],
    products: Float[Tensor, " heads"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Prepends a key with the value 0, whose product with each query of a head is that of the head.

    The product is a further feature of the queries, which is 1 in that key and 0 in all others.
    """
    q = torch.cat((q, products.to(q)[:, None, None].expand(len(q), -1, q.shape[2], 1)), -1)
    k = F.pad(k, (0, 1, 1, 0))
    k[:, :, 0, -1] = 1.0
    return q, k, F.pad(v, (0, 0, 1, 0))


@plugin(
    AttentionConfig,
    provides={
        Capability.NEXT_TOKEN,
        Capability.BOTH_SIDES,
        Capability.SOURCE_TARGET,
        Capability.PREFIX,
        Capability.GENERATE,
        Capability.VALUES,
        Capability.HIDDEN,
    },
    windowed=True,
)
class Attention(Mixer):
    """out(softmax(q k' / sqrt(head_dim)) v), over the keys that the context makes visible."""

    def __init__(self, config: AttentionConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.n_heads % config.queries_per_kv == 0,
            f"queries_per_kv must divide n_heads={parts.n_heads}, got {config.queries_per_kv}",
        )
        self.config = config
        self.head_dim = parts.head_dim
        self.kv_shape = (parts.n_heads // config.queries_per_kv, self.head_dim)
        kv_dim = self.kv_shape[0] * self.head_dim
        self.q = QueryIn(parts.dim, parts.n_heads, self.head_dim, config.qkv_bias)
        self.k = nn.Linear(parts.dim, kv_dim, config.qkv_bias)
        self.v = nn.Linear(parts.dim, kv_dim, config.qkv_bias)
        self.out = BranchOut(parts.n_heads * self.head_dim, parts.dim, config.out_bias)
        if config.qk_norm:
            self.q_norm: nn.Module = nn.RMSNorm(self.head_dim, config.qk_norm_eps)
            self.k_norm: nn.Module = nn.RMSNorm(self.head_dim, config.qk_norm_eps)
        else:
            self.q_norm = self.k_norm = nn.Identity()
        width = parts.n_heads * self.head_dim
        self.gate = nn.Linear(parts.dim, width, config.qkv_bias) if config.gate else None
        self.sinks = nn.Parameter(torch.zeros(parts.n_heads)) if config.sinks else None
        self.value_mix = nn.Parameter(torch.full((2,), 0.5)) if config.value_residual else None

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        local = context if context.memory is not None else context.within(self._window(context))
        q = local.position.rotate(self.q_norm(self._split(self.q(x))), local)
        k, v = self._keys_values(x, local)
        scale = None if self.config.scaled else 1.0
        if self.sinks is not None:
            scale = scale or self.head_dim**-0.5  # of the head, without the feature of the sink
            q, k, v = prepend_sink(q, k, v, self.sinks / scale)
        mixed = attend(q, k, v, local, scale=scale, softcap=self.config.softcap)
        mixed = mixed.transpose(1, 2).flatten(2)  # batch seq heads*head_dim
        return self.out(mixed if self.gate is None else mixed * self.gate(x).sigmoid())

    def _window(self, context: Context) -> int | None:
        every = self.config.global_layer_every
        return None if every and context.layer % every == 0 else self.config.window

    def _keys_values(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if context.memory is not None:
            states = context.memory.states
            if context.cache is None:
                return context.prepend_learned(*self._project(states, context))
            return context.cache.cross(
                context.layer, lambda: context.prepend_learned(*self._project(states, context))
            )
        k, v = self._project(x, context)
        k = context.position.rotate(k, context)
        if context.cache is None:
            return context.prepend_learned(k, v)
        return context.cache.extend(context.layer, k, v, context.learned_kv)

    def _mix_values(self, v: Tensor, context: Context) -> Tensor:
        """Adds the values of the first layer and the extra values, if there are any."""
        if self.value_mix is not None:
            first = context.first_values.setdefault((v.shape[1], self.head_dim), v)
            v = self.value_mix[0] * first + self.value_mix[1] * v
        return v if context.extra_values is None else v + context.extra_values

    def _project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        k = self.k_norm(self._split(self.k(x)))
        return k, self._mix_values(self._split(self.v(x)), context)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # batch heads seq head_dim
