"""Multi-head latent attention: keys and values of all heads are computed from one small vector.

DeepSeek-AI 2024 (DeepSeek-V2), https://arxiv.org/abs/2405.04434, equations 9 to 19, as in
transformers' `deepseek_v3` with `rope_interleave=False`. A cache contains, per token, the latent
vector and one rotated key that all heads share: `kv_rank + rope_dim` numbers. Decoding never
expands it: the key projection is absorbed into the queries and the value projection into the
output (section 2.1.2). Positions rotate only the `rope_dim` features; other kinds work as usual.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import MixerConfig
from etude.network import BranchOut, Context, Mixer, Parts, QueryIn, attend


@dataclass
class MlaConfig(MixerConfig):
    kv_rank: int = 64
    """Width of the latent vector of keys and values, which is cached. DeepSeek-V3: 512."""
    q_rank: int | None = None
    """Width of the latent vector of the queries; null = none. DeepSeek-V3: 1536."""
    rope_dim: int = 16
    """Features of each query, and of the key that all heads share, that are rotated. V3: 64."""
    head_dim: int | None = None
    """Features of each head's query, key and value besides those; null = dim / n_heads."""
    eps: float = 1e-6
    """Epsilon of the norms of the latent vectors, added to the mean square."""

    def __post_init__(self) -> None:
        for name in ("kv_rank", "q_rank", "rope_dim", "head_dim"):
            value = vars(self)[name]
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")

    @property
    def key_dim(self) -> int | None:
        return self.rope_dim


@plugin(
    MlaConfig,
    provides={
        Capability.NEXT_TOKEN,
        Capability.BOTH_SIDES,
        Capability.SOURCE_TARGET,
        Capability.PREFIX,
        Capability.GENERATE,
        Capability.HIDDEN,
    },
)
class Mla(Mixer):
    """Attention whose keys and values are up-projections of norm(down(x)), plus a shared key."""

    def __init__(self, config: MlaConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.n_heads = parts.n_heads
        self.head_dim = config.head_dim or parts.dim // parts.n_heads
        q_width = self.head_dim + config.rope_dim
        if config.q_rank is None:
            self.q_down: nn.Module = nn.Identity()
        else:
            norm = nn.RMSNorm(config.q_rank, config.eps)
            self.q_down = nn.Sequential(nn.Linear(parts.dim, config.q_rank, bias=False), norm)
        self.q = QueryIn(config.q_rank or parts.dim, parts.n_heads, q_width, bias=False)
        self.kv_down = nn.Linear(parts.dim, config.kv_rank + config.rope_dim, bias=False)
        self.kv_norm = nn.RMSNorm(config.kv_rank, config.eps)
        self.kv_up = nn.Linear(config.kv_rank, 2 * parts.n_heads * self.head_dim, bias=False)
        self.out = BranchOut(parts.n_heads * self.head_dim, parts.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        q = self.q(self.q_down(x)).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        q, rotated = q.split((self.head_dim, self.config.rope_dim), dim=-1)
        q = torch.cat((q, context.position.rotate(rotated, context)), dim=-1)
        if context.memory is not None:
            mixed = attend(q, *self._source(context.memory.states, context), context)
        else:
            mixed = self._attend_latent(q, self._compress(x, context), context)
        return self.out(mixed.transpose(1, 2).flatten(2))  # batch seq heads*head_dim

    def _source(self, states: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Returns keys and values of the source."""
        if context.cache is None:
            return self._expand(self._compress(states, context))
        return context.cache.cross(
            context.layer, lambda: self._expand(self._compress(states, context))
        )

    def _compress(self, x: Tensor, context: Context) -> Float[Tensor, "batch seq width"]:
        """Returns the latent vector and the shared key of each token."""
        latent, key = self.kv_down(x).split((self.config.kv_rank, self.config.rope_dim), dim=-1)
        if context.memory is None:
            key = context.position.rotate(key[:, None], context)[:, 0]
        return torch.cat((self.kv_norm(latent), key), dim=-1)

    def _expand(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the keys and values of each head."""
        latent, key = latent.split((self.config.kv_rank, self.config.rope_dim), dim=-1)
        up = self.kv_up(latent).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        k, v = up.split(self.head_dim, dim=-1)  # batch heads keys head_dim
        return torch.cat((k, key[:, None].expand(-1, self.n_heads, -1, -1)), dim=-1), v

    def _attend_latent(self, q: Tensor, latent: Tensor, context: Context) -> Tensor:
        """Attends to the tokens so far, expanded if they are all new: cheaper for many queries."""
        if context.cache is not None:
            latent = context.cache.append(context.layer, latent)
        if latent.shape[1] > q.shape[2]:
            return self._absorbed(q, latent, context)
        return attend(q, *self._expand(latent), context)

    def _absorbed(self, q: Tensor, latent: Tensor, context: Context) -> Tensor:
        """Attention over the latent vectors themselves, as if they were one head of keys."""
        if isinstance(self.kv_up, nn.Linear):
            up = self.kv_up.weight
        else:  # an adapter
            up = self.kv_up(torch.eye(self.config.kv_rank, device=q.device, dtype=q.dtype)).mT
        key_up, value_up = up.unflatten(0, (self.n_heads, -1)).split(self.head_dim, dim=1)
        scale = q.shape[-1] ** -0.5
        q, rotated = q.split((self.head_dim, self.config.rope_dim), dim=-1)
        q = torch.cat((q @ key_up, rotated), dim=-1)  # batch heads seq kv_rank+rope_dim
        keys = latent[:, None]
        mixed = attend(q, keys, keys[..., : self.config.kv_rank], context, scale=scale)
        return mixed @ value_up.mT  # batch heads seq head_dim
