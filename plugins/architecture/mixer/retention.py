"""Retention: linear attention with exponential decay over distance, at one rate per head.

Sun et al. 2023 (RetNet), https://arxiv.org/abs/2307.08621, equations 5 to 8: training
computes all token pairs in parallel, decoding keeps one state of constant size per layer. The
paper's rotation of queries and keys is `architecture/position=rope`.
Deviations: the sums are not normalised before the group norm, which would undo that up to its
eps. Distance is counted within a document; padding and other documents have weight 0.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import HeadsConfig
from etude.network import BranchOut, Context, Mixer, Parts


@dataclass
class RetentionConfig(HeadsConfig):
    value_ratio: int = 2
    """Width of values divided by that of keys; with 2, mlp.ratio=2 keeps the parameter count."""
    eps: float = 1e-5
    """Epsilon of the group norm, added to the variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.value_ratio >= 1, f"value_ratio must be at least 1, got {self.value_ratio}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


def log_decay_rates(n_heads: int, like: Tensor) -> Float[Tensor, " heads"]:
    """Returns the log of the decay per position of each head i, 1 - 2^(-5 - i)."""
    heads = torch.arange(n_heads, device=like.device, dtype=like.dtype)
    return torch.log1p(-(2 ** (-5 - heads)))


def decay_weights(context: Context, n_heads: int, n_keys: int, dtype: torch.dtype) -> Tensor:
    """Returns the decay weights of the last `n_keys` keys: [#batch heads queries keys]."""
    positions = context.positions[:, None, :, None]
    keys = context.key_positions[:, None, None]
    distance = (positions - keys[..., -n_keys:]).clamp(min=0).to(dtype)
    weights = (distance * log_decay_rates(n_heads, distance)[:, None, None]).exp()
    visible = context.visible(keys.shape[-1])
    return weights if visible is None else weights.masked_fill(~visible[..., -n_keys:], 0)


def retain(
    q: Float[Tensor, "batch heads seq key_dim"],
    k: Float[Tensor, "batch heads seq key_dim"],
    v: Float[Tensor, "batch heads seq value_dim"],
    weights: Float[Tensor, "#batch heads seq keys"],
    state: Float[Tensor, "batch heads key_dim value_dim"] | None,
) -> Float[Tensor, "batch heads seq value_dim"]:
    """Returns (q k' * weights) v over the keys of this pass and the state before it.

    With a state, the first key of `weights` is the last token that the state includes.
    """
    out = (q @ k.mT * weights[..., -k.shape[2] :]).to(v.dtype) @ v
    if state is None:
        return out
    return out + (weights[..., :1] * (q.to(state.dtype) @ state)).to(v.dtype)


def next_state(
    k: Float[Tensor, "batch heads seq key_dim"],
    v: Float[Tensor, "batch heads seq value_dim"],
    weights: Float[Tensor, "#batch heads seq keys"],
    state: Float[Tensor, "batch heads key_dim value_dim"] | None,
) -> Float[Tensor, "batch heads key_dim value_dim"]:
    """Returns the state after this pass, in weights' dtype: k' v, weighted for its last token."""
    last = weights[..., -1, :, None]  # batch heads keys 1
    new = (k * last[:, :, -k.shape[2] :]).mT @ v.to(last.dtype)
    return new if state is None else new + last[:, :, :1] * state


@plugin(RetentionConfig, provides={Capability.NEXT_TOKEN, Capability.GENERATE, Capability.HIDDEN})
class Retention(Mixer):
    """out(swish(gate(x)) * group_norm((q k' * decay) v)), with one group per head."""

    def __init__(self, config: RetentionConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.causal,
            "retention is causal only. Use architecture=decoder_only, or "
            "architecture/mixer=attention for bidirectional and cross-attention.",
        )
        self.n_heads = parts.n_heads
        self.head_dim = parts.head_dim
        key_dim = self.n_heads * self.head_dim
        value_dim = config.value_ratio * key_dim
        self.q = nn.Linear(parts.dim, key_dim, bias=False)
        self.k = nn.Linear(parts.dim, key_dim, bias=False)
        self.v = nn.Linear(parts.dim, value_dim, bias=False)
        self.gate = nn.Linear(parts.dim, value_dim, bias=False)
        self.norm = nn.GroupNorm(self.n_heads, value_dim, config.eps)
        self.out = BranchOut(value_dim, parts.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q, k, v = (self._split(project(x)) for project in (self.q, self.k, self.v))
        q = context.position.rotate(q, context)
        k = context.position.rotate(k, context) * self.head_dim**-0.5
        out = self._retain(q, k, v, context).transpose(1, 2).flatten(2)
        normed = self.norm(out.flatten(0, 1)).view_as(out)  # batch seq heads*value_dim
        return self.out(F.silu(self.gate(x)) * normed)

    def _retain(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        states = None if context.cache is None else context.cache.states
        state = None if states is None else states.get((context.layer, "sum"))
        n_keys = k.shape[2] + (state is not None)
        dtype = torch.promote_types(q.dtype, torch.float32)
        weights = context.once("decay", lambda: decay_weights(context, self.n_heads, n_keys, dtype))
        assert weights is not None
        if states is not None:
            states[context.layer, "sum"] = next_state(k, v, weights, state)
        return retain(q, k, v, weights, state)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # batch heads seq head_dim
