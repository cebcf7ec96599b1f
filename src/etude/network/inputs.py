"""What a network is given, and what it is to predict: rows of ids, padded or packed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass
class Inputs:
    """Tokens for one forward pass. Document 0 is padding; no `documents` = one document a row."""

    tokens: Int[Tensor, "batch seq"]
    documents: Int[Tensor, "batch seq"] | None = None
    source: "Inputs | None" = None
    prefix: Bool[Tensor, "batch seq"] | None = None
    """The tokens that every token of their document sees, whatever comes first."""
    segments: Int[Tensor, "batch seq"] | None = None
    """Which of several texts a token belongs to, where a network tells them apart; else 0."""

    def to(self, device: torch.device) -> "Inputs":
        """The same on a device."""

        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device)

        source = None if self.source is None else self.source.to(device)
        tokens = self.tokens.to(device)
        documents = moved(self.documents)
        return Inputs(tokens, documents, source, moved(self.prefix), moved(self.segments))

    @property
    def n_tokens(self) -> int:
        """Tokens that are not padding, those of the source included."""
        own = self.tokens.numel() if self.documents is None else int((self.documents > 0).sum())
        return own + (self.source.n_tokens if self.source else 0)

    def positions(self) -> Int[Tensor, "#batch seq"]:
        """Place of each token in its document, from 0."""
        index = torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]
        if self.documents is None:
            return index
        starts = F.pad(self.documents[:, 1:] != self.documents[:, :-1], (1, 0), value=True)
        return index - torch.where(starts, index, 0).cummax(dim=1).values


@dataclass
class Targets:
    """What a forward pass is to predict: from `inputs`, the ids due where `where` is true."""

    inputs: Inputs
    ids: Int[Tensor, "batch seq"]
    where: Bool[Tensor, "batch seq"]


def width_of(lengths: Sequence[int]) -> int:
    """How wide rows of these lengths are stacked: one of four widths an octave, if they differ.

    A CPU compiles a kernel for each shape, and keeps it; so does a compiled network.
    """
    most = max(lengths)
    step = 1 if min(lengths) == most else 1 << max(0, most.bit_length() - 3)
    return -(-most // step) * step


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> Inputs:
    """Stacks rows of ids, padding their ends; `documents` only where something is padded."""
    lengths = [len(row) for row in rows]
    width = width_of(lengths)
    tokens = torch.full((len(rows), width), pad)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.as_tensor(row)
    documents = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    return Inputs(tokens, None if bool(documents.all()) else documents)


def last_real(inputs: Inputs) -> Bool[Tensor, "batch seq"]:
    """Where the last token of each row is that is not padding, on whichever side that stands."""
    index = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device)[None]
    if inputs.documents is None:
        return (index == index.max()).expand(inputs.tokens.shape)
    return index == (index * (inputs.documents > 0)).amax(dim=1, keepdim=True)


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> Inputs:
    """Stacks rows of ids, padding their starts; `documents` only where something is padded."""
    flipped = pad_right([list(row)[::-1] for row in rows], pad)
    documents = None if flipped.documents is None else flipped.documents.flip(1)
    return Inputs(flipped.tokens.flip(1), documents)
