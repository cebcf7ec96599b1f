"""Prints a batch as the loss sees it: input tokens, and the target tokens that are trained on.

The layout follows from the batch. Every `Inputs` and `Targets` among its fields, at any depth, is a
panel; a list or tensor with one item per row is shown with its row; any other value is shown at
the top. So an objective adds a panel by adding a field to its batch; no objective is named here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from torch import Tensor

from etude.data.tokenizer import Tokenizer
from etude.network.inputs import Inputs, Targets

SHOWN_ROWS = 3
WIDTH_IN_A_PIPE = 100
LONGEST_PIECE = 24
BROKEN = "�"
PARTS = "¹²³⁴⁵⁶"
VISIBLE_SPACE = str.maketrans({" ": "·", "\n": "↵", "\t": "→", "\r": "←"})
INPUT = ""
SPECIAL = "cyan"
TARGET = "bold green"
FAINT = "dim"
Column: TypeAlias = tuple[Text, ...]


@dataclass(frozen=True)
class Panel:
    """Rows of tokens of an `Inputs`, with the target tokens if it belongs to a `Targets`."""

    name: str
    inputs: Inputs
    targets: Targets | None = None

    def counts(self, row: int | slice = slice(None)) -> str:
        """Returns the counts of tokens, trained tokens and padding of a row, or of all rows."""
        tokens = self.inputs.tokens[row]
        documents = self.inputs.documents
        n = tokens.numel() if documents is None else int((documents[row] > 0).sum())
        trained = 0 if self.targets is None else int(self.targets.where[row].sum())
        counts = [f"{n:,} tokens"]
        counts += [] if self.targets is None else [f"{trained:,} trained"]
        return ", ".join([*counts, f"{tokens.numel() - n:,} padding"])


def show(batch: Any, tokenizer: Tokenizer, console: Console) -> None:
    """Prints the counts and the first rows of a batch, which is a dataclass."""
    n_rows = _n_rows(batch)
    panels = list(_panels(batch))
    width = max((len(name) for name, _ in _leaves(batch)), default=0) + len(".source")
    console.print(f"{type(batch).__name__}: {n_rows:,} rows", style="bold")
    for panel in panels:
        rows, seq = panel.inputs.tokens.shape
        console.print(f"  {panel.name:<{width}} {rows:,} x {seq:,}: {panel.counts()}")
    for name, value in _leaves(batch):
        if not isinstance(value, Inputs | Targets) and not _is_per_row(value, n_rows):
            console.print(f"  {name:<{width}} {_text(value)}")
    for row in range(min(n_rows, SHOWN_ROWS)):
        console.print(f"\nrow {row + 1} of {n_rows}", style="bold")
        for name, value in _leaves(batch):
            if _is_per_row(value, n_rows):
                console.print(f"  {name}: {_text(value[row])}", markup=False, soft_wrap=True)
        for panel in (panel for panel in panels if row < len(panel.inputs.tokens)):
            console.print(f"  {panel.name}: {panel.counts(row)}")
            for line in _lines(panel, row, tokenizer, _width(console)):
                console.print(line, soft_wrap=True)


def _leaves(batch: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # any class of batches
    """Yields every value of a batch with its path; recurses into dataclasses."""
    for field, value in vars(batch).items():
        name = f"{path}{field}"
        if is_dataclass(value) and not isinstance(value, Inputs | Targets):
            yield from _leaves(value, f"{name}.")
        elif value is not None:
            yield name, value


def _panels(batch: Any) -> Iterator[Panel]:  # any dataclass
    for name, value in _leaves(batch):
        if isinstance(value, Inputs | Targets):
            inputs = value.inputs if isinstance(value, Targets) else value
            if inputs.source is not None:
                yield Panel(f"{name}.source", inputs.source)
            yield Panel(name, inputs, value if isinstance(value, Targets) else None)


def _n_rows(batch: Any) -> int:  # any dataclass
    panels = list(_panels(batch))
    if panels:
        return max(len(panel.inputs.tokens) for panel in panels)
    return max((len(value) for _, value in _leaves(batch) if isinstance(value, list)), default=0)


def _is_per_row(value: Any, n_rows: int) -> bool:  # whatever a batch holds
    if isinstance(value, Tensor):
        return value.ndim == 1 and len(value) == n_rows
    return isinstance(value, list) and len(value) == n_rows


def _text(value: Any) -> str:  # whatever a batch holds
    if isinstance(value, Tensor):
        return f"{value.item():.6g}" if value.numel() == 1 else f"{tuple(value.shape)} numbers"
    return repr(value)


def _lines(panel: Panel, row: int, tokenizer: Tokenizer, width: int) -> Iterator[Text]:
    """Yields a row, wrapped: documents, input tokens and target tokens below each other."""
    columns = list(_columns(panel, row, tokenizer))
    names = [
        name for i, name in enumerate(("doc", "input", "target")) if any(c[i] for c in columns)
    ]
    indices = [i for i in range(3) if any(column[i] for column in columns)]
    for start, part in _wrap_columns(columns, width - 14):
        for first, (index, name) in enumerate(zip(indices, names, strict=True)):
            line = Text().append(f"{start if first == 0 else '':>6} {name:<6}", FAINT)
            for column in part:
                cell = column[index].copy()
                cell.append(" " * (_size(column) - cell_len(cell.plain)))
                line.append(" ").append_text(cell)
            line.rstrip()
            yield line


def _columns(panel: Panel, row: int, tokenizer: Tokenizer) -> Iterator[Column]:
    """Yields (document, input token, target token) of each position that is not padding."""
    tokens = panel.inputs.tokens[row].tolist()
    documents = panel.inputs.documents
    doc_ids = [1] * len(tokens) if documents is None else documents[row].tolist()
    several = len({doc for doc in doc_ids if doc}) > 1
    inputs = _pieces(tokens, tokenizer)
    targets = panel.targets
    trained = [False] * len(tokens) if targets is None else targets.where[row].tolist()
    outputs = inputs if targets is None else _pieces(targets.ids[row].tolist(), tokenizer)
    before = 0
    columns = zip(tokens, doc_ids, inputs, outputs, trained, strict=True)
    for token, doc, piece, target, is_trained in columns:
        if doc:
            label = str(doc) if several and doc != before else ""
            style = SPECIAL if token in tokenizer.vocab.special else INPUT if is_trained else FAINT
            yield Text(label), Text(piece, style), Text(target if is_trained else "", TARGET)
        before = doc


def _pieces(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Returns the text of each token with visible white space; long ones lose their middle.

    If several tokens form one character, each shows the character and its own index.
    """
    pieces = tokenizer.pieces(ids)
    start = 0
    while start < len(pieces):
        size = 1
        text = pieces[start]
        if BROKEN in text:
            size, text = _character(ids[start : start + len(PARTS)], tokenizer)
        if size > 1:
            pieces[start : start + size] = [f"{text}{part}" for part in PARTS[:size]]
        start += size
    return [_visible(piece) for piece in pieces]


def _character(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[int, str]:
    """Returns how many of the first tokens form complete characters, and these; 1 if none do."""
    for size in range(2, len(ids) + 1):
        text = tokenizer.decode(ids[:size])
        if BROKEN not in text and text:
            return size, text
    return 1, BROKEN


def _visible(piece: str) -> str:
    shown = piece.translate(VISIBLE_SPACE)
    shown = "".join(char if char.isprintable() else BROKEN for char in shown)
    end = LONGEST_PIECE // 2
    return shown if len(shown) <= LONGEST_PIECE else f"{shown[:end]}…{shown[-end:]}"


def _wrap_columns(columns: Sequence[Column], width: int) -> Iterator[tuple[int, Sequence[Column]]]:
    """Yields the columns in lines that fit, each with the number of its first column."""
    start = 0
    used = 0
    for i, column in enumerate(columns):
        size = _size(column) + 1
        if used + size > width and i > start:
            yield start, columns[start:i]
            start = i
            used = 0
        used += size
    if columns:
        yield start, columns[start:]


def _size(column: Column) -> int:
    return max(cell_len(cell.plain) for cell in column)


def _width(console: Console) -> int:
    return console.width if console.is_terminal else WIDTH_IN_A_PIPE
