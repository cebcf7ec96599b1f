"""What the first step of a run trains on, as plain values that the terminal and the page show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from torch import Tensor

from etude.cli.pages.inspect.panels import Panel, PanelCounts, leaves, panels
from etude.cli.pages.inspect.pieces import shown_pieces
from etude.data.tokenizer import Tokenizer
from etude.data.vocab import Vocab
from etude.network.inputs import Inputs, Targets

SHOWN_NUMBERS = 8


class Role(Enum):
    """What a token is for."""

    text = auto()
    prefix = auto()
    special = auto()
    sentinel = auto()
    mask = auto()


@dataclass(frozen=True)
class Cell:
    """A position of a row that is not padding."""

    piece: str
    id: int
    role: Role
    index: int
    """Place in the row, from 0, padding included."""
    document: int
    position: int
    """The position that the network sees: it restarts with each document that is kept separate."""
    target: str | None = None
    """The token to predict here; None = none."""
    target_id: int | None = None
    marks: Sequence[str] = ()
    """Names of the masks that are true here."""
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    label: str = ""
    """What it is a part of, such as a message; empty = unknown."""


@dataclass(frozen=True)
class Row:
    """A row of a panel."""

    name: str
    cells: Sequence[Cell]
    n_padding: int
    has_targets: bool = False
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    spans: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """The text that each sentinel of the input stands for; None = the target does not list it."""

    @property
    def n_trained(self) -> int:
        """Number of positions with a target."""
        return sum(cell.target is not None for cell in self.cells)

    @property
    def counts(self) -> str:
        """The number of tokens and of targets."""
        trained = f", {self.n_trained:,} trained" if self.has_targets else ""
        return f"{len(self.cells):,} tokens{trained}"

    @property
    def is_packed(self) -> bool:
        """Whether it contains several documents."""
        return len({cell.document for cell in self.cells}) > 1


@dataclass(frozen=True)
class Sample:
    """A sample of the step, collated alone."""

    name: str
    count: float
    rows: Sequence[Row]
    values: Mapping[str, str]
    cuts: Sequence[str] = ()
    """What of it was cut off, and why."""


@dataclass(frozen=True)
class Step:
    """What a step trains on."""

    n_samples: int
    n_micro_batches: int
    count: float
    """What the loss of the step is divided by."""
    unit: str
    """What `count` counts."""
    panels: Mapping[str, PanelCounts]
    samples: Sequence[Sample]
    """The first ones."""
    empty: Sequence[str]
    """Names of the samples that add nothing to `count`."""
    lost: Sequence[str]
    """Lines on what of the data is not used, and why."""

    @property
    def title(self) -> str:
        """What is counted."""
        return f"step 1: {self.n_samples:,} samples in {self.n_micro_batches:,} micro-batches"


def rows_of(
    batch: Any,  # a batch of one sample
    tokenizer: Tokenizer,
    numbers: Mapping[str, Tensor],
    labels: Sequence[str] = (),
) -> tuple[list[Row], dict[str, str]]:
    """Returns the rows of a sample, and the values of its batch that belong to no row.

    `numbers` has one number for each target of the first panel with targets, or of the first panel
    if none has any, and `labels` one label for each token of its rows. A value with one item per
    row belongs to the rows of that panel, as does one with one number for each of its targets.
    """
    found = list(panels(batch))
    n_rows = max((len(panel.inputs.tokens) for panel in found), default=0)
    rest = [leaf for leaf in leaves(batch) if not isinstance(leaf[1], Inputs | Targets)]
    rest = [(key, value) for key, value in rest if not _is_mark_of(value, found)]
    per_row = {key: value for key, value in rest if _is_per_row(value, n_rows)}
    first = next((panel for panel in found if panel.targets is not None), None)
    own = {key: value for key, value in rest if key not in per_row and _is_per_target(value, first)}
    numbers = {**own, **numbers}
    rows: list[Row] = []
    names = iter(labels)
    for panel in found:
        for i in range(len(panel.inputs.tokens)):
            values = per_row if panel is (first or found[0]) else {}
            row = _row(panel, i, tokenizer, numbers if panel is first else {})
            if labels and panel is (first or found[0]):
                cells = [replace(cell, label=next(names)) for cell in row.cells]
                row = replace(row, cells=cells)
            rows.append(replace(row, values={k: _text(value[i]) for k, value in values.items()}))
    others = {key: _text(value) for key, value in rest if key not in (*per_row, *own)}
    return rows, others


def _is_mark_of(value: Any, found: Sequence[Panel]) -> bool:  # whatever a batch holds
    return any(value is mark for panel in found for mark in panel.marks.values())


def _is_per_row(value: Any, n_rows: int) -> bool:  # whatever a batch holds
    if isinstance(value, Tensor):
        return value.ndim == 1 and len(value) == n_rows
    return isinstance(value, list) and len(value) == n_rows


def _is_per_target(value: Any, panel: Panel | None) -> bool:  # whatever a batch holds
    n = 0 if panel is None or panel.targets is None else int(panel.targets.where.sum())
    return isinstance(value, Tensor) and value.ndim == 1 and len(value) == n


def _text(value: Any) -> str:  # whatever a batch holds
    if not isinstance(value, Tensor):
        return repr(value)
    if value.numel() > SHOWN_NUMBERS:
        return f"{tuple(value.shape)} numbers"
    items = value.flatten().tolist()
    return ", ".join(str(i).lower() if isinstance(i, bool) else f"{i:.6g}" for i in items)


def _row(panel: Panel, i: int, tokenizer: Tokenizer, numbers: Mapping[str, Tensor]) -> Row:
    """Returns row `i` of a panel; `numbers` are those of the targets of all rows."""
    cells = list(_cells(panel, i, tokenizer))
    n_padding = panel.inputs.tokens.shape[1] - len(cells)
    targets = panel.targets
    if targets is None:
        return Row(panel.name, cells, n_padding)
    start = int(targets.where[:i].sum())
    due_ids = targets.ids[i].tolist()
    due = shown_pieces(due_ids, tokenizer)
    for at, cell in enumerate(cells):
        if targets.where[i, cell.index]:
            own = {name: float(values[start]) for name, values in numbers.items()}
            k = cell.index
            cells[at] = replace(cell, target=due[k], target_id=due_ids[k], numbers=own)
            start += 1
    spans = _spans(cells, panel.inputs.source and panel.inputs.source.tokens[i], tokenizer)
    return Row(panel.name, cells, n_padding, has_targets=True, spans=spans)


def _cells(panel: Panel, i: int, tokenizer: Tokenizer) -> Iterator[Cell]:
    """Yields the positions of row `i` of a panel that are not padding, without targets."""
    vocab = tokenizer.vocab
    inputs = panel.inputs
    ids = inputs.tokens[i].tolist()
    pieces = shown_pieces(ids, tokenizer)
    documents = panel.documents[i].tolist()
    positions = inputs.positions().expand(inputs.tokens.shape)[i].tolist()
    prefix = [False] * len(ids) if inputs.prefix is None else inputs.prefix[i].tolist()
    for k, token in enumerate(ids):
        if documents[k]:
            role = _role(token, vocab, is_prefix=prefix[k])
            marks = [name for name, mark in panel.marks.items() if mark[i, k]]
            yield Cell(pieces[k], token, role, k, documents[k], positions[k], marks=marks)


def _role(token: int, vocab: Vocab, *, is_prefix: bool) -> Role:
    if token == vocab.mask:
        return Role.mask
    if token in vocab.sentinels:
        return Role.sentinel
    if token in vocab.special or token in vocab.stops:
        return Role.special
    return Role.prefix if is_prefix else Role.text


def _spans(
    cells: Sequence[Cell], source: Tensor | None, tokenizer: Tokenizer
) -> dict[str, str | None]:
    """Returns the span of each sentinel that the source contains, as the targets list them.

    Without a source, the tokens before the first target take its place. Empty without a match.
    """
    start = next((at for at, cell in enumerate(cells) if cell.target is not None), 0)
    asked = [cell.id for cell in cells[: start + 1]] if source is None else source.tolist()
    sentinels = [token for token in asked if token in tokenizer.vocab.sentinels]
    spans: dict[int, str] = {}
    last: int | None = None
    for cell in cells:
        if cell.target_id in tokenizer.vocab.special:
            last = cell.target_id
            spans[last] = ""
        elif last is not None:
            spans[last] += cell.target or ""
    if not spans.keys() & set(sentinels):
        return {}
    pieces = shown_pieces(sentinels, tokenizer)
    return {piece: spans.get(i) for piece, i in zip(pieces, sentinels, strict=True)}
