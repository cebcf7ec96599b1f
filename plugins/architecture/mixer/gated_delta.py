"""Gated DeltaNet: linear attention whose state forgets by a gate and is written by the delta rule.

Yang et al. 2024, https://arxiv.org/abs/2412.06464, equation 10:
S_t = a_t S_(t-1) (I - b_t k_t k_t') + b_t v_t k_t', read as S_t q_t. What a key reads is removed
before its value is written. Training uses chunks (the WY form of section 3.3, here by a
triangular solve); decoding keeps one state of constant size per layer. Short convolutions,
normalised queries and keys, and the output gate are those of Qwen3-Next. Positions are not used:
the state knows the order.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import HeadsConfig
from etude.network import BranchOut, Context, Mixer, Parts

from ._recurrence import Chunks, ShortConv, inverse_softplus, log_uniform, real_tokens

CHUNK = 64
"""Tokens per chunk; the result does not depend on it."""


@dataclass
class GatedDeltaConfig(HeadsConfig):
    values_per_key: int = 1
    """Value heads per key head. Qwen3-Next: 2."""
    conv_size: int = 4
    """Tokens that the short convolution of queries, keys and values reads."""
    eps: float = 1e-6
    """Epsilon of the output norm, added to the mean square."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("values_per_key", "conv_size"):
            require(vars(self)[name] >= 1, f"{name} must be at least 1, got {vars(self)[name]}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


def delta_rule(
    q: Float[Tensor, "batch heads seq key_dim"],
    k: Float[Tensor, "batch heads seq key_dim"],
    v: Float[Tensor, "batch heads seq value_dim"],
    rates: tuple[Float[Tensor, "batch heads seq 1"], Float[Tensor, "batch heads seq 1"]],
    state: Float[Tensor, "batch heads key_dim value_dim"],
    chunks: Chunks,
) -> tuple[Float[Tensor, "batch heads seq value_dim"], Tensor]:
    """Returns what each query reads, and the state after the last token.

    `rates` are the log decay and the writing rate of each token and head.
    """
    q, k, v, log_decay, beta = map(chunks.cut, (q, k, v, *rates))
    within, start, end, whole = chunks.decay(log_decay)
    lower = (beta * (k @ k.mT) * within).tril(-1)  # what each key reads of the values before it
    written = torch.linalg.solve_triangular(
        lower, torch.cat((beta * v, beta * start * k), dim=-1), upper=False, unitriangular=True
    )
    values, keys = written.split((v.shape[-1], k.shape[-1]), dim=-1)
    scores = q @ k.mT * within
    out: list[Tensor] = []
    for i in range(q.shape[2]):
        new = values[:, :, i] - keys[:, :, i] @ state
        out.append((q * start)[:, :, i] @ state + scores[:, :, i] @ new)
        state = whole[:, :, i] * state + (k * end)[:, :, i].mT @ new
    return chunks.join(torch.stack(out, dim=2)), state


@plugin(GatedDeltaConfig, provides={Capability.NEXT_TOKEN, Capability.GENERATE, Capability.HIDDEN})
class GatedDelta(Mixer):
    """out(rms_norm(delta_rule(conv(qkv(x)))) * silu(gate(x))), normed per head."""

    def __init__(self, config: GatedDeltaConfig, parts: Parts) -> None:
        super().__init__()
        require(
            parts.causal,
            "gated_delta is causal only. Use architecture=decoder_only, or "
            "architecture/mixer=attention for bidirectional and cross-attention.",
        )
        self.config = config
        self.head_dim = parts.head_dim
        self.n_heads = parts.n_heads * config.values_per_key
        key_dim = parts.n_heads * self.head_dim
        value_dim = self.n_heads * self.head_dim
        self.sizes = (key_dim, key_dim, value_dim)
        self.qkv = nn.Linear(parts.dim, sum(self.sizes), bias=False)
        self.conv = ShortConv(sum(self.sizes), config.conv_size)
        self.gate = nn.Linear(parts.dim, value_dim, bias=False)
        self.rates = nn.Linear(parts.dim, 2 * self.n_heads, bias=False)  # of writing and forgetting
        self.log_forgetting = nn.Parameter(torch.empty(self.n_heads).uniform_(1e-3, 16).log())
        self.step = nn.Parameter(inverse_softplus(log_uniform(self.n_heads, 1e-3, 0.1)))
        self.norm = nn.RMSNorm(self.head_dim, config.eps)
        self.out = BranchOut(value_dim, parts.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q, k, v = map(self._split, self.conv(self.qkv(x), context).split(self.sizes, dim=-1))
        q, k = (part.repeat_interleave(self.config.values_per_key, dim=1) for part in (q, k))
        rates = self._rates(x, context)
        out = self._read(_unit(q) * self.head_dim**-0.5, _unit(k), v, rates, context)
        gate = F.silu(self.gate(x).unflatten(-1, (self.n_heads, -1)))
        return self.out((self.norm(out.transpose(1, 2).to(x.dtype)) * gate).flatten(2))

    def _rates(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Returns log decay and writing rate of each token and head; padding changes nothing."""
        write, forget = self.rates(x).transpose(1, 2)[..., None].chunk(2, dim=1)
        dtype = torch.promote_types(x.dtype, torch.float32)
        speed = F.softplus(forget.to(dtype) + self.step[:, None, None].to(dtype))
        log_decay = -self.log_forgetting.to(dtype).exp()[:, None, None] * speed
        beta = write.to(dtype).sigmoid()
        real = real_tokens(context)
        if real is None:
            return log_decay, beta
        shown = real[:, None, :, None]
        return torch.where(shown, log_decay, 0.0), torch.where(shown, beta, 0.0)

    def _read(
        self, q: Tensor, k: Tensor, v: Tensor, rates: tuple[Tensor, Tensor], context: Context
    ) -> Tensor:
        key = context.layer, "state"
        state = None if context.cache is None else context.cache.states.get(key)
        if state is None:
            state = rates[0].new_zeros((*q.shape[:2], self.head_dim, self.head_dim))
        q, k, v = (part.to(state.dtype) for part in (q, k, v))
        out, state = delta_rule(q, k, v, rates, state, Chunks(context, CHUNK))
        if context.cache is not None:
            context.cache.states[key] = state
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # batch heads seq head_dim


def _unit(x: Tensor) -> Tensor:
    """Divides by the norm, with the epsilon of the reference implementation."""
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True) + 1e-6)
