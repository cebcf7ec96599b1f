"""What layers know about a forward pass: which keys each query sees, and the positions.

Layers never see a dense mask. They see a `Context`, and `attend` turns it into the fastest
equivalent kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude.network.kv_cache import KvCache, Memory


class Position(nn.Module):
    """A position encoding. Each kind implements one of three hooks; the others do nothing."""

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        """Adds positions to the embedded tokens."""
        return x

    def rotate(
        self, x: Float[Tensor, "batch heads seq head_dim"], context: "Context"
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Rotates queries or keys by their positions."""
        return x

    def bias(
        self, context: "Context", dtype: torch.dtype
    ) -> Float[Tensor, "#batch heads queries keys"] | None:
        """Returns a bias, of this dtype, to add to the attention logits by distance; None = 0."""
        return None


class Scaling:
    """The rotary frequencies of queries and keys; this base class leaves them unscaled."""

    attention_factor: float = 1.0
    """Factor by which rotated queries and keys are multiplied."""

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        """Returns radians per position of each pair of features, on the CPU, in float64."""
        steps = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu") / head_dim
        return theta**-steps


@dataclass
class Context:
    """Which keys each query sees, in one forward pass.

    A key is visible if it belongs to the query's document and, when `causal`, does not come
    after the query or belongs to the prefix; with a `window`, only if it is less than that many
    positions away. With `memory` set, keys and values come from the source instead.
    """

    position: Position
    positions: Int[Tensor, "#batch seq"]
    key_positions: Int[Tensor, "#batch keys"]
    causal: bool
    documents: Int[Tensor, "batch seq"] | None = None
    key_documents: Int[Tensor, "batch keys"] | None = None
    prefix: Bool[Tensor, "batch seq"] | None = None
    memory: Memory | None = None
    cache: KvCache | None = None
    source: "Context | None" = None
    """The context of cross-attention to the source, if there is one."""
    window: int | None = None
    extra_values: Float[Tensor, "batch kv_heads seq head_dim"] | None = None
    """What a mixer with the capability VALUES adds to its values; set by the stream."""
    span: int | None = None
    """Largest window of this pass; None = no limit. See the group `ramp`."""
    first_values: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """By number and width of heads, the values of the first layer that has left them here."""
    learned_kv: tuple[Tensor, Tensor] | None = None
    """Learned keys and values, [kv_heads n head_dim] each, that every query sees."""
    layer: int = 0
    """Index of the current layer; set by the stack."""
    memos: dict[int | None, dict[str, Tensor | None]] = field(default_factory=dict)

    def enter(self, layer: int) -> None:
        """Sets the current layer."""
        self.layer = layer
        if self.source is not None:
            self.source.layer = layer

    def within(self, window: int | None) -> "Context":
        """Returns the context with this attention window, or the span if that is smaller."""
        if self.span is not None:
            window = self.span if window is None else min(window, self.span)
        return self if window == self.window else replace(self, window=window)

    def once(self, name: str, compute: Callable[[], Tensor | None]) -> Tensor | None:
        """Returns `compute()`, cached under `name` for all layers with the same window."""
        memo = self.memos.setdefault(self.window, {})
        if name not in memo:
            memo[name] = compute()
        return memo[name]

    def prepend_learned(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the keys and values of a layer, with `learned_kv` prepended."""
        if self.learned_kv is None:
            return k, v
        first = (part.to(k).expand(k.shape[0], -1, -1, -1) for part in self.learned_kv)
        keys, values = (torch.cat(pair, dim=2) for pair in zip(first, (k, v), strict=True))
        return keys, values

    def visible(self, n_keys: int) -> Bool[Tensor, "#batch 1 seq keys"] | None:
        """Returns which keys each query sees; None = all. Padding sees all keys."""
        n_queries = self.positions.shape[1]
        device = self.positions.device
        seen = None
        if self.causal and n_queries > 1:
            order = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
            seen = order.tril(n_keys - n_queries)[None, None]
            if self.prefix is not None:
                assert n_keys == n_queries, "a prefix must be processed in one pass"
                seen = seen | self.prefix[:, None, None, :]
        if self.window is not None:
            offset = self.positions[:, None, :, None] - self.key_positions[:, None, None, :]
            near = offset.abs() < self.window
            seen = near if seen is None else seen & near
        if self.key_documents is None:
            return seen
        keys = self.key_documents[:, None, None, :]
        queries = keys.new_ones(()) if self.documents is None else self.documents[:, None, :, None]
        same = keys == queries
        return (same if seen is None else same & seen) | (queries == 0)

    @property
    def is_plain(self) -> bool:
        """Whether visibility depends only on the order of tokens."""
        return self.key_documents is None and self.prefix is None and self.window is None


def attend(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads keys head_dim"],
    v: Float[Tensor, "batch kv_heads keys head_dim"],
    context: Context,
    *,
    scale: float | None = None,
    softcap: float | None = None,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Attention over the keys that `context` makes visible to each query.

    Logits are `scale` q.k, 1 / sqrt(head_dim) by default; a `softcap` c makes them c tanh(. / c).
    Prepended keys (`Context.learned_kv`) are visible to all queries, without bias.
    """
    n_keys = context.key_positions.shape[1]
    n_learned = k.shape[2] - n_keys
    if k.shape[1] != q.shape[1]:
        repeats = q.shape[1] // k.shape[1]
        k = k.repeat_interleave(repeats, dim=1)
        v = v.repeat_interleave(repeats, dim=1)
    bias = context.once("bias", lambda: context.position.bias(context, q.dtype))
    square = context.causal and q.shape[2] == k.shape[2]
    if square and softcap is None and bias is None and context.is_plain and not n_learned:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    mask = _seen_learned(context.once("mask", lambda: _mask(context, bias, n_keys)), n_learned)
    if softcap is None and q.shape[2] == 1:
        return _attend_one_query(q, k, v, mask, scale)
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    logits = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    logits = softcap * torch.tanh(logits / softcap)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if bias is None else logits + mask
    return logits.softmax(dim=-1) @ v


def _attend_one_query(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Attends with a single query; on a CPU, without oneDNN's matmuls (see hardware.py).

    oneDNN prepares one kernel per number of keys, which means one per generated token.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if q.device.type == "cpu" else precision)
    try:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    finally:
        torch.set_float32_matmul_precision(precision)


def _mask(context: Context, bias: Tensor | None, n_keys: int) -> Tensor | None:
    """Returns a boolean mask or, with a bias, the bias with -inf where hidden; None = no mask."""
    seen = context.visible(n_keys)
    return seen if bias is None else bias if seen is None else bias.masked_fill(~seen, -torch.inf)


def _seen_learned(mask: Tensor | None, n: int) -> Tensor | None:
    """Extends a mask or bias by `n` prepended keys, which every query sees."""
    if mask is None or n == 0:
        return mask
    return F.pad(mask, (n, 0), value=True if mask.dtype == torch.bool else 0.0)
