"""What recurrent mixers share: a short convolution, chunks, and the borders of documents."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude.network import Context


class ShortConv(nn.Module):
    """Causal depthwise convolution and SiLU: each token with those before it in its document."""

    def __init__(self, width: int, size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.size = size
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.weight = nn.Parameter(torch.empty(width, size))
        nn.init.uniform_(self.weight, -(size**-0.5), size**-0.5)

    def forward(
        self, x: Float[Tensor, "batch seq width"], context: Context, name: str = "conv"
    ) -> Float[Tensor, "batch seq width"]:
        """Mixes along the sequence; with a cache, continues after the inputs stored as `name`."""
        before = self.size - 1
        stored = None if context.cache is None else context.cache.states.get((context.layer, name))
        past = x.new_zeros((len(x), before, x.shape[2])) if stored is None else stored
        extended = torch.cat((past, x), dim=1)
        if context.cache is not None:
            context.cache.states[context.layer, name] = extended[:, extended.shape[1] - before :]
        documents = documents_of(context, before)
        out = torch.zeros_like(x)
        for tap in range(self.size):
            part = extended[:, tap : tap + x.shape[1]]
            if documents is not None:
                same = documents[:, tap : tap + x.shape[1]] == documents[:, before:]
                part = torch.where(same[..., None], part, 0.0)
            out = out + part * self.weight[:, tap]
        return F.silu(out if self.bias is None else out + self.bias)


def log_uniform(n: int, low: float, high: float) -> Float[Tensor, " n"]:
    """Returns n random numbers whose logarithms are uniform between those of the limits."""
    return torch.empty(n).uniform_(math.log(low), math.log(high)).exp()


def inverse_softplus(x: Tensor) -> Tensor:
    """Returns the numbers whose softplus is x."""
    return x + torch.log(-torch.expm1(-x))


def documents_of(context: Context, n_past: int) -> Int[Tensor, "batch known"] | None:
    """Returns the documents of `n_past` earlier tokens and of this pass; None if all are one.

    Where there is no earlier token, the document is -1.
    """
    if context.key_documents is None:
        return None
    needed = n_past + context.positions.shape[1]
    known = context.key_documents[:, -needed:]
    return F.pad(known, (needed - known.shape[1], 0), value=-1)


def real_tokens(context: Context) -> Bool[Tensor, "batch seq"] | None:
    """Returns which tokens of this pass are not padding; None = all."""
    documents = documents_of(context, 0)
    return None if documents is None else documents > 0


class Chunks:
    """Cuts a sequence into chunks, and knows which of their tokens share a document.

    `same` [batch 1 chunk seq seq]: two tokens of a chunk; `kept` [batch 1 chunk seq 1]: a token and
    the last one before the chunk, whose document the state belongs to; None = always.
    """

    def __init__(self, context: Context, size: int) -> None:
        self.n = context.positions.shape[1]
        self.size = min(size, self.n)
        self.n_padding = -self.n % self.size
        self.same: Bool[Tensor, "batch 1 chunk seq seq"] | None = None
        self.kept: Bool[Tensor, "batch 1 chunk seq 1"] | None = None
        documents = documents_of(context, 1)
        if documents is not None:
            ids = self.cut(documents[:, None, 1:, None])  # batch 1 chunk seq 1
            before = torch.cat((documents[:, None, :1, None, None], ids[:, :, :-1, -1:]), dim=2)
            self.same = ids == ids.mT
            self.kept = ids == before

    def cut(self, x: Tensor) -> Tensor:
        """[batch heads seq width] -> [batch heads chunk seq width]; the last one is padded."""
        return F.pad(x, (0, 0, 0, self.n_padding)).unflatten(2, (-1, self.size))

    def join(self, x: Tensor) -> Tensor:
        """Undoes `cut`."""
        return x.flatten(2, 3)[:, :, : self.n]

    def decay(
        self, log_decay: Float[Tensor, "batch heads chunk seq 1"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns four decay factors of a chunk, from each token's log of its own decay.

        From token j to token i of a chunk, 0 where i < j: [... seq seq]; from the state before the
        chunk to token i: [... seq 1]; from token j to the end of the chunk: [... seq 1]; from the
        state before to the end: [... 1 1]. All are 0 across documents.
        """
        total = log_decay.cumsum(dim=-2)
        order = torch.ones(self.size, self.size, dtype=torch.bool, device=total.device).tril()
        order = order if self.same is None else order & self.same
        within = (total - total.mT).masked_fill(~order, -torch.inf).exp()
        start = total.exp() if self.kept is None else torch.where(self.kept, total.exp(), 0.0)
        return within, start, within[..., -1:, :].mT, start[..., -1:, :]
