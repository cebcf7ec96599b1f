"""The panels of a batch: its rows of tokens, with their targets and masks.

The layout follows from the batch. Every `Inputs` and `Targets` among its fields, at any depth, is a
panel, and a boolean tensor of the shape of its tokens marks them. So an objective adds a panel by
adding a field to its batch; no objective is named here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import torch
from torch import Tensor

from etude.network.inputs import Inputs, Targets


@dataclass
class PanelCounts:
    """Counts over the rows of a panel in all micro-batches."""

    rows: int = 0
    tokens: int = 0
    padding: int = 0
    trained: int | None = None
    """None for a panel without targets."""
    marks: dict[str, int] = field(default_factory=dict[str, int])
    """Tokens that each mask selects."""

    @property
    def trained_share(self) -> str | None:
        """The share of the tokens that have a target."""
        return None if self.trained is None else f"{self.trained / max(1, self.tokens):.1%}"

    @property
    def padding_share(self) -> str:
        """The share of padding among all positions."""
        return f"{self.padding / max(1, self.tokens + self.padding):.1%}"

    def __str__(self) -> str:
        """The counts and shares as a line."""
        parts = [f"{self.rows:,} rows", f"{self.tokens:,} tokens"]
        if self.trained is not None:
            parts.append(f"{self.trained:,} trained ({self.trained_share})")
        parts += [f"{n:,} {name}" for name, n in self.marks.items()]
        return ", ".join([*parts, f"{self.padding:,} padding ({self.padding_share})"])


@dataclass(frozen=True)
class Panel:
    """Rows of tokens of an `Inputs`, with the targets if it belongs to a `Targets`."""

    name: str
    inputs: Inputs
    targets: Targets | None
    marks: Mapping[str, Tensor]
    """The other masks of its shape, by name."""

    @property
    def documents(self) -> Tensor:
        """The document of each token; 0 = padding."""
        documents = self.inputs.documents
        return torch.ones_like(self.inputs.tokens) if documents is None else documents

    def add_to(self, counts: PanelCounts) -> None:
        """Adds the counts of all rows."""
        is_real = self.documents > 0
        counts.rows += len(is_real)
        counts.tokens += int(is_real.sum())
        counts.padding += int((~is_real).sum())
        if self.targets is not None:
            counts.trained = (counts.trained or 0) + int(self.targets.where.sum())
        for name, mark in self.marks.items():
            counts.marks[name] = counts.marks.get(name, 0) + int(mark.sum())


def panel_counts(batches: Sequence[Any]) -> dict[str, PanelCounts]:  # any class of batches
    """Returns the counts of each panel over all micro-batches of a step."""
    counts: dict[str, PanelCounts] = {}
    for panel in (panel for batch in batches for panel in panels(batch)):
        panel.add_to(counts.setdefault(panel.name, PanelCounts()))
    return counts


def panels(batch: Any) -> Iterator[Panel]:  # any dataclass
    """Yields the panels of a batch; the source of a decoder comes before what it reads."""
    fields = list(leaves(batch))
    masks = {name: value for name, value in fields if _is_mask(value)}
    for name, value in fields:
        if isinstance(value, Inputs | Targets):
            inputs = value.inputs if isinstance(value, Targets) else value
            if inputs.source is not None:
                yield Panel(f"{name}.source", inputs.source, None, {})
            shape = inputs.tokens.shape
            marks = {key: mask for key, mask in masks.items() if mask.shape == shape}
            yield Panel(name, inputs, value if isinstance(value, Targets) else None, marks)


def leaves(batch: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # any class of batches
    """Yields every value of a batch with its path; recurses into dataclasses and dictionaries."""
    for key, value in (batch if isinstance(batch, dict) else vars(batch)).items():
        name = f"{path}{key}"
        if (is_dataclass(value) and not isinstance(value, Inputs | Targets)) or isinstance(
            value, dict
        ):
            yield from leaves(value, f"{name}.")
        elif value is not None:
            yield name, value


def _is_mask(value: Any) -> bool:  # whatever a batch holds
    return isinstance(value, Tensor) and value.dtype == torch.bool and value.ndim == 2
