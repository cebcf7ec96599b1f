"""What a layer may know: who may look at whom, in words, and where tokens stand.

Layers never see a dense mask. They see a `Context`, and `attend` turns it into the fastest kernel
that says the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude.network.kv_cache import KvCache, Memory


class Position(nn.Module):
    """Tells order. Each kind implements one of three hooks; the others say nothing."""

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        """Adds order to the embedded tokens."""
        return x

    def rotate(
        self, x: Float[Tensor, "batch heads seq head_dim"], context: "Context"
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Turns queries or keys by their positions."""
        return x

    def bias(
        self, context: "Context", dtype: torch.dtype
    ) -> Float[Tensor, "#batch heads queries keys"] | None:
        """Adds to attention logits, by distance; of this dtype."""
        return None


class Scaling:
    """The frequencies that queries and keys are turned with; here, those they are trained with."""

    attention_factor: float = 1.0
    """What turned queries and keys are multiplied by."""

    def frequencies(self, theta: float, head_dim: int) -> Float[Tensor, " pairs"]:
        """Radians a place of each pair of features, on the CPU, in float64."""
        steps = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu") / head_dim
        return theta**-steps


@dataclass
class Context:
    """Who may look at whom, in one forward pass.

    A key is visible if it belongs to the query's document and, when `causal`, does not come
    after the query or belongs to the prefix; with a `window`, only if it is less than that many
    places away. With `memory` set, keys and values are the source's instead of the queries'.
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
    """How the same queries see the source, where there is one."""
    window: int | None = None
    beside: tuple[Tensor, Tensor] | None = None
    """Learned keys and values, [kv_heads n head_dim] each, that every query sees; see `joined`."""
    layer: int = 0
    """Which layer is looking; the stack counts."""
    memos: dict[int | None, dict[str, Tensor | None]] = field(default_factory=dict)

    def enter(self, layer: int) -> None:
        """Says which layer comes next."""
        self.layer = layer
        if self.source is not None:
            self.source.layer = layer

    def within(self, window: int | None) -> "Context":
        """The same, seen through a window."""
        return self if window == self.window else replace(self, window=window)

    def once(self, name: str, compute: Callable[[], Tensor | None]) -> Tensor | None:
        """Returns `compute()`, computed by the first layer with this window that asks for it."""
        memo = self.memos.setdefault(self.window, {})
        if name not in memo:
            memo[name] = compute()
        return memo[name]

    def joined(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, behind those that stand `beside`."""
        if self.beside is None:
            return k, v
        first = (part.to(k).expand(k.shape[0], -1, -1, -1) for part in self.beside)
        keys, values = (torch.cat(pair, dim=2) for pair in zip(first, (k, v), strict=True))
        return keys, values

    def visible(self, n_keys: int) -> Bool[Tensor, "#batch 1 seq keys"] | None:
        """Which keys each query sees; None = all. Padding sees everything and nothing sees it."""
        n_queries = self.positions.shape[1]
        device = self.positions.device
        seen = None
        if self.causal and n_queries > 1:
            order = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
            seen = order.tril(n_keys - n_queries)[None, None]
            if self.prefix is not None:
                assert n_keys == n_queries, "a prefix is read in one pass"
                seen = seen | self.prefix[:, None, None, :]
        if self.window is not None:
            apart = self.positions[:, None, :, None] - self.key_positions[:, None, None, :]
            near = apart.abs() < self.window
            seen = near if seen is None else seen & near
        if self.key_documents is None:
            return seen
        keys = self.key_documents[:, None, None, :]
        queries = keys.new_ones(()) if self.documents is None else self.documents[:, None, :, None]
        same = keys == queries
        return (same if seen is None else same & seen) | (queries == 0)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but order decides what is seen."""
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
    """Attention over what `context` lets each query see.

    Logits are `scale` q.k, 1 / sqrt(head_dim) by default; a `softcap` c makes them c tanh(. / c).
    Keys before those of the context (see `Context.joined`) are seen by all, without bias.
    """
    n_keys = context.key_positions.shape[1]
    n_beside = k.shape[2] - n_keys
    if k.shape[1] != q.shape[1]:
        repeats = q.shape[1] // k.shape[1]
        k = k.repeat_interleave(repeats, dim=1)
        v = v.repeat_interleave(repeats, dim=1)
    bias = context.once("bias", lambda: context.position.bias(context, q.dtype))
    square = context.causal and q.shape[2] == k.shape[2]
    if square and softcap is None and bias is None and context.is_plain and not n_beside:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    mask = _seen_beside(context.once("mask", lambda: _mask(context, bias, n_keys)), n_beside)
    if softcap is None and q.shape[2] == 1:
        return _of_one_query(q, k, v, mask, scale)
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    logits = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    logits = softcap * torch.tanh(logits / softcap)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if bias is None else logits + mask
    return logits.softmax(dim=-1) @ v


def _of_one_query(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Attention, on a CPU without oneDNN's products (see hardware.py).

    They are prepared anew for every number of keys, so for every token that is written.
    """
    route = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if q.device.type == "cpu" else route)
    try:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    finally:
        torch.set_float32_matmul_precision(route)


def _mask(context: Context, bias: Tensor | None, n_keys: int) -> Tensor | None:
    """What is visible: true or false, or where there is a bias, it or -inf; None = all alike."""
    seen = context.visible(n_keys)
    return seen if bias is None else bias if seen is None else bias.masked_fill(~seen, -torch.inf)


def _seen_beside(mask: Tensor | None, n: int) -> Tensor | None:
    """A mask or bias of keys, with `n` keys before them that all see."""
    if mask is None or n == 0:
        return mask
    return F.pad(mask, (n, 0), value=True if mask.dtype == torch.bool else 0.0)
