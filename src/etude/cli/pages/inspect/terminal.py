"""Prints the first step as its loss sees it: each token, with the token to predict below it."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from etude.cli.pages.inspect.view import Cell, Role, Row, Sample, Step

WIDTH_IN_A_PIPE = 100
MARGIN = 14
NARROWEST_SIDE = 44
STYLES = {
    Role.text: "",
    Role.prefix: "blue",
    Role.special: "cyan",
    Role.sentinel: "magenta",
    Role.mask: "yellow",
}
TARGET = "bold green"
FAINT = "dim"
EVERY_LINE = ("input", "target")
"""Rows of a line of tokens that are shown even if they are empty in it."""
Column: TypeAlias = list[Text]


def show(step: Step, console: Console) -> None:
    """Prints the counts of the step, and its first samples."""
    console.print(step.title, style="bold")
    width = max(map(len, step.panels), default=0)
    for name, counts in step.panels.items():
        console.print(f"  {name:<{width}}  {counts}", soft_wrap=True)
    console.print(f"  the loss is divided by {step.count:,.10g} {step.unit}")
    for line in step.lost:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    for sample in step.samples:
        console.print(f"\n{sample.name}: {sample.count:,.10g} {step.unit}", style="bold")
        for key, value in sample.values.items():
            console.print(f"  {key}: {value}", markup=False, soft_wrap=True)
        for cut in sample.cuts:
            console.print(f"  cut: {cut}", markup=False, soft_wrap=True)
        for line in _sample_lines(sample, _width(console)):
            console.print(line, soft_wrap=True)


def _sample_lines(sample: Sample, width: int) -> Iterator[Text]:
    """Yields the rows of a sample; the two sides of a comparison are next to each other."""
    half = (width - 3) // 2
    if len(sample.rows) == 2 and not sample.rows[0].name.endswith(".source"):
        left, right = (list(_row_lines(row, half)) for row in sample.rows)
        if half >= NARROWEST_SIDE and max(map(_size, left + right)) <= half:
            for one, other in zip_longest(left, right, fillvalue=Text()):
                yield _padded(one, half).append(" │ ", FAINT).append_text(other)
            return
    for row in sample.rows:
        yield from _row_lines(row, width)


def _row_lines(row: Row, width: int) -> Iterator[Text]:
    """Yields the counts of a row, its values, and its tokens in lines that fit."""
    yield Text(f"  {row.name}: {row.counts}")
    for key, value in row.values.items():
        yield Text(f"    {key}: {value}")
    for sentinel, span in row.spans.items():
        meaning = "not in the target" if span is None else f"= {span or '(nothing)'}"
        yield Text(f"    {sentinel} {meaning}", STYLES[Role.sentinel])
    names = ["doc", "part", "input", "target", *_names(row)]
    columns = list(_columns(row, names[4:]))
    shown = [i for i in range(len(names)) if any(column[i] for column in columns)]
    margin = max([MARGIN, *(len(names[i]) + 8 for i in shown)])
    for start, part in _wrap_columns(columns, width - margin):
        place = str(row.cells[start].index)
        for i in (i for i in shown if names[i] in EVERY_LINE or any(c[i] for c in part)):
            line = Text().append(f"{place:>6} {names[i]:<{margin - 8}}", FAINT)
            for column in part:
                line.append(" ").append_text(_padded(column[i], max(map(_size, column))))
            line.rstrip()
            place = ""
            yield line


def _names(row: Row) -> list[str]:
    """Returns the names of the masks and numbers of a row's positions."""
    names = (name for cell in row.cells for name in (*cell.marks, *cell.numbers))
    return list(dict.fromkeys(names))


def _columns(row: Row, names: Sequence[str]) -> Iterator[Column]:
    """Yields document, label, input token, target token, masks and numbers of each position."""
    before: Cell | None = None
    for cell in row.cells:
        starts = row.is_packed and (before is None or before.document != cell.document)
        is_faint = cell.role is Role.text and cell.target is None and row.n_trained > 0
        more = [
            f"{cell.numbers[name]:.3g}" if name in cell.numbers else "x" * (name in cell.marks)
            for name in names
        ]
        yield [
            Text(f"{cell.document}@{cell.position}" if starts else "", FAINT),
            Text(cell.label if before is None or cell.label != before.label else "", FAINT),
            Text(cell.piece, FAINT if is_faint else STYLES[cell.role]),
            Text(cell.target or "", TARGET),
            *(Text(item, FAINT) for item in more),
        ]
        before = cell


def _wrap_columns(columns: Sequence[Column], width: int) -> Iterator[tuple[int, Sequence[Column]]]:
    """Yields the columns in lines that fit, each with the number of its first column."""
    start = 0
    used = 0
    for i, column in enumerate(columns):
        size = max(map(_size, column)) + 1
        if used + size > width and i > start:
            yield start, columns[start:i]
            start = i
            used = 0
        used += size
    if columns:
        yield start, columns[start:]


def _padded(text: Text, width: int) -> Text:
    return text.copy().append(" " * max(0, width - _size(text)))


def _size(text: Text) -> int:
    return cell_len(text.plain)


def _width(console: Console) -> int:
    return console.width if console.is_terminal else WIDTH_IN_A_PIPE
