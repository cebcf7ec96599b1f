"""Mamba-2: a state space model with one decay per head, computed as chunks of linear attention.

Dao & Gu 2024, https://arxiv.org/abs/2405.21060: the selective state space model of equations 1 and
16, h_t = exp(d_t a) h_(t-1) + d_t B_t x_t, y_t = C_t h_t + D x_t, with the chunked algorithm of
section 6 (SSD) and the block of section 7. Weights have the order of transformers' `mamba2`, with
its initial decays and steps. Decoding keeps one state of constant size per layer. Padding and
other documents change no state. Positions are not used: the state knows the order.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import MixerConfig
from etude.network import BranchOut, Context, Mixer, Parts

from ._recurrence import Chunks, ShortConv, inverse_softplus, log_uniform, real_tokens

CHUNK = 64
"""Tokens per chunk; the result does not depend on it."""


@dataclass
class Mamba2Config(MixerConfig):
    state_dim: int = 64
    """Width of B and C, the writing and reading vectors; a head's state is head_dim times this.
    Typical: 64-256."""
    expand: int = 2
    """Width of the values divided by dim. With 2, mlp.ratio=2 keeps the parameter count."""
    head_dim: int | None = None
    """Width of the values of each head; null = dim / n_heads. Mamba-2: 64."""
    bc_heads: int = 1
    """Number of B and C vectors; the heads that share one are normalised together. Mamba-2: 1."""
    conv_size: int = 4
    """Tokens that the short convolution of x, B and C reads."""
    eps: float = 1e-5
    """Epsilon of the output norm, added to the mean square."""

    def __post_init__(self) -> None:
        for name in ("state_dim", "expand", "head_dim", "bc_heads", "conv_size"):
            value = vars(self)[name]
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")


def scan(
    q: Float[Tensor, "batch heads seq state_dim"],
    k: Float[Tensor, "batch heads seq state_dim"],
    v: Float[Tensor, "batch heads seq head_dim"],
    log_decay: Float[Tensor, "batch heads seq 1"],
    state: Float[Tensor, "batch heads state_dim head_dim"],
    chunks: Chunks,
) -> tuple[Float[Tensor, "batch heads seq head_dim"], Tensor]:
    """Returns S_t' q_t, where S_t = decay_t S_(t-1) + k_t v_t', and the state after the last."""
    q, k, v, log_decay = map(chunks.cut, (q, k, v, log_decay))
    within, start, end, whole = chunks.decay(log_decay)
    inside = (q @ k.mT * within) @ v
    written = (k * end).mT @ v  # batch heads chunk state_dim head_dim
    out: list[Tensor] = []
    for i in range(q.shape[2]):
        out.append(inside[:, :, i] + (q * start)[:, :, i] @ state)
        state = whole[:, :, i] * state + written[:, :, i]
    return chunks.join(torch.stack(out, dim=2)), state


@plugin(Mamba2Config, provides={Capability.NEXT_TOKEN, Capability.GENERATE, Capability.HIDDEN})
class Mamba2(Mixer):
    """out(rms_norm((scan(C, B, x) + D x) * silu(gate))), where x, B and C are convolved."""

    def __init__(self, config: Mamba2Config, parts: Parts) -> None:
        super().__init__()
        require(
            parts.causal,
            "mamba2 is causal only. Use architecture=decoder_only, or "
            "architecture/mixer=attention for bidirectional and cross-attention.",
        )
        self.config = config
        width = config.expand * parts.dim
        self.head_dim = config.head_dim or parts.dim // parts.n_heads
        self.n_heads = width // self.head_dim
        require(
            width % self.head_dim == 0 and self.n_heads % config.bc_heads == 0,
            f"expand * dim = {width} must be a multiple of head_dim={self.head_dim} times "
            f"bc_heads={config.bc_heads}",
        )
        self.sizes = (width, *[config.bc_heads * config.state_dim] * 2)
        self.project = nn.Linear(parts.dim, width + sum(self.sizes) + self.n_heads, bias=False)
        self.conv = ShortConv(sum(self.sizes), config.conv_size, bias=True)
        self.log_rate = nn.Parameter(torch.arange(1.0, self.n_heads + 1).log())
        self.step = nn.Parameter(inverse_softplus(log_uniform(self.n_heads, 1e-3, 0.1)))
        self.skip = nn.Parameter(torch.ones(self.n_heads))
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.out = BranchOut(width, parts.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        gate, mixed, steps = self.project(x).split(
            (self.sizes[0], sum(self.sizes), self.n_heads), dim=-1
        )
        values, write, read = self.conv(mixed, context).split(self.sizes, dim=-1)
        values = values.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        write, read = map(self._of_heads, (write, read))
        out = self._read(read, write, values, steps.transpose(1, 2)[..., None], context)
        out = (out + self.skip[:, None, None] * values).transpose(1, 2).flatten(2).to(x.dtype)
        groups = (out * F.silu(gate)).unflatten(-1, (self.config.bc_heads, -1))
        normed = F.rms_norm(groups, groups.shape[-1:], eps=self.config.eps).flatten(2)
        return self.out(self.norm_weight * normed)

    def _of_heads(self, x: Tensor) -> Float[Tensor, "batch heads seq state_dim"]:
        groups = x.unflatten(-1, (self.config.bc_heads, -1)).transpose(1, 2)
        return groups.repeat_interleave(self.n_heads // self.config.bc_heads, dim=1)

    def _read(
        self, q: Tensor, k: Tensor, v: Tensor, steps: Tensor, context: Context
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Returns what each token reads of the state; padding writes nothing and decays nothing."""
        dtype = torch.promote_types(v.dtype, torch.float32)
        q, k, v = (part.to(dtype) for part in (q, k, v))
        steps = F.softplus(steps.to(dtype) + self.step[:, None, None].to(dtype))
        real = real_tokens(context)
        steps = steps if real is None else torch.where(real[:, None, :, None], steps, 0.0)
        log_decay = -self.log_rate.to(dtype).exp()[:, None, None] * steps
        key = context.layer, "state"
        state = None if context.cache is None else context.cache.states.get(key)
        if state is None:
            state = v.new_zeros((*v.shape[:2], self.config.state_dim, self.head_dim))
        out, state = scan(q, k, steps * v, log_decay, state, Chunks(context, CHUNK))
        if context.cache is not None:
            context.cache.states[key] = state
        return out
