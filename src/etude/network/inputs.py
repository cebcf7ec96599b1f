"""Inputs and targets of a network: rows of token ids, padded or packed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass
class Inputs:
    """Tokens for one forward pass. Document 0 is padding; None means one document per row."""

    tokens: Int[Tensor, "batch seq"]
    documents: Int[Tensor, "batch seq"] | None = None
    source: "Inputs | None" = None
    prefix: Bool[Tensor, "batch seq"] | None = None
    """Prefix tokens, which every token of their document sees, whether before or after it."""
    segments: Int[Tensor, "batch seq"] | None = None
    """Segment id of each token, for networks with segment embeddings; None = 0."""

    def to(self, device: torch.device) -> "Inputs":
        """Returns the inputs on a device."""

        def move(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device)

        source = None if self.source is None else self.source.to(device)
        tokens = self.tokens.to(device)
        documents = move(self.documents)
        return Inputs(tokens, documents, source, move(self.prefix), move(self.segments))

    @property
    def n_tokens(self) -> int:
        """Number of tokens without padding, including those of the source."""
        n = self.tokens.numel() if self.documents is None else int((self.documents > 0).sum())
        return n + (self.source.n_tokens if self.source else 0)

    def positions(self) -> Int[Tensor, "#batch seq"]:
        """Returns the position of each token in its document, from 0."""
        index = torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]
        if self.documents is None:
            return index
        starts = F.pad(self.documents[:, 1:] != self.documents[:, :-1], (1, 0), value=True)
        return index - torch.where(starts, index, 0).cummax(dim=1).values


@dataclass
class Targets:
    """What a forward pass predicts from `inputs`: the `ids` at positions where `where` is true."""

    inputs: Inputs
    ids: Int[Tensor, "batch seq"]
    where: Bool[Tensor, "batch seq"]


def padded_width(lengths: Sequence[int]) -> int:
    """Returns the padded width of rows of these lengths: one of four per octave, if they differ.

    Few widths mean few kernels: a CPU, like a compiled network, prepares one per shape.
    """
    longest = max(lengths)
    step = 1 if min(lengths) == longest else 1 << max(0, longest.bit_length() - 3)
    return -(-longest // step) * step


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> Inputs:
    """Stacks rows of ids, padded on the right; sets `documents` only if there is padding."""
    lengths = [len(row) for row in rows]
    width = padded_width(lengths)
    tokens = torch.full((len(rows), width), pad)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.as_tensor(row)
    documents = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    return Inputs(tokens, None if bool(documents.all()) else documents)


def last_real(inputs: Inputs) -> Bool[Tensor, "batch seq"]:
    """Marks the last token of each row that is not padding, with padding on either side."""
    index = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device)[None]
    if inputs.documents is None:
        return (index == index.max()).expand(inputs.tokens.shape)
    return index == (index * (inputs.documents > 0)).amax(dim=1, keepdim=True)


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> Inputs:
    """Stacks rows of ids, padded on the left; sets `documents` only if there is padding."""
    flipped = pad_right([list(row)[::-1] for row in rows], pad)
    documents = None if flipped.documents is None else flipped.documents.flip(1)
    return Inputs(flipped.tokens.flip(1), documents)
