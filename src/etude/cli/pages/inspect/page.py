"""One self-contained HTML page on the first step, which needs no network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from etude.cli.pages.inspect.view import Cell, Role, Row, Sample, Step
from etude.cli.pages.report.markup import Markup, join_markup, table, tag

PLACE = Path(__file__).parent
LEGEND = {
    "trained": "a token to predict, below the token before it or in its place",
    Role.prefix.name: "a token that every token of its document sees",
    Role.special.name: "a special token",
    Role.sentinel.name: "a sentinel",
    Role.mask.name: "a masked token",
    "idle": "context without a target",
}


def page(step: Step, card: str) -> str:
    """Returns the page as HTML, with the data card of the run as text."""
    counts = [
        [name, n.rows, n.tokens, n.trained, n.trained_share, n.padding, n.padding_share, marks]
        for name, n in step.panels.items()
        for marks in [", ".join(f"{mark}: {count:,}" for mark, count in n.marks.items())]
    ]
    head = ["panel", "rows", "tokens", "trained", "share", "padding", "of all", "masks"]
    body = [
        table(head, counts),
        tag("p", f"The loss is divided by {step.count:,.10g} {step.unit}."),
        *(tag("p", line, css="soft") for line in step.lost),
        _list("Samples that train nothing", step.empty),
        tag("details", tag("summary", "Data"), tag("pre", card)),
        tag("div", *_legend(), css="legend"),
        *(_sample(sample, step.unit) for sample in step.samples),
    ]
    made = Template((PLACE / "page.html").read_text(encoding="utf-8")).substitute(
        title=join_markup(["étude inspect"]),
        subtitle=join_markup([step.title]),
        body=join_markup(body),
        css=(PLACE.parent / "report" / "page.css").read_text(encoding="utf-8")
        + (PLACE / "page.css").read_text(encoding="utf-8"),
    )
    return made.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are invalid UTF-8


def _list(title: str, items: Sequence[str]) -> Markup:
    """Returns a list in a box; nothing if it is empty."""
    listed = tag("ul", *(tag("li", item) for item in items))
    return tag("div", tag("b", title), listed, css="problems") if items else Markup("")


def _legend() -> Iterator[Markup]:
    for name, meaning in LEGEND.items():
        yield tag("div", tag("i", name, css=f"token {name}"), f" {meaning}")


def _sample(sample: Sample, unit: str) -> Markup:
    """Returns a sample: its values, and its rows next to each other."""
    values = [tag("p", tag("b", f"{key}: "), value) for key, value in sample.values.items()]
    values += [tag("p", tag("b", "cut: "), cut) for cut in sample.cuts]
    title = f"{sample.name}: {sample.count:,.10g} {unit}"
    grid = tag("div", *map(_row, sample.rows), css="rows")
    return tag("section", tag("h2", title), *values, grid)


def _row(row: Row) -> Markup:
    values = [tag("p", tag("b", f"{key}: "), value) for key, value in row.values.items()]
    if row.spans:
        pairs = [[sentinel, span] for sentinel, span in row.spans.items()]
        values.append(table(["sentinel", "stands for"], pairs))
    tokens = tag("div", *_tokens(row), css="tokens")
    return tag("figure", tag("figcaption", tag("b", row.name), row.counts), *values, tokens)


def _tokens(row: Row) -> Iterator[Markup]:
    """Yields the tokens of a row, with a mark where a document starts."""
    document: int | None = None
    label = ""
    for cell in row.cells:
        if row.is_packed and cell.document != document:
            yield tag("div", f"document {cell.document}", css="document")
        if cell.label != label:
            yield tag("div", cell.label, css="document")
        document, label = cell.document, cell.label
        yield _token(cell, has_targets=row.n_trained > 0)


def _token(cell: Cell, *, has_targets: bool) -> Markup:
    """Returns a token, the token to predict below it, and all that is known of it as its title."""
    known = {
        "id": cell.id,
        "part of": cell.label,
        "role": cell.role.name,
        "index": cell.index,
        "document": cell.document,
        "position": cell.position,
        "target": cell.target and f"{cell.target} (id {cell.target_id})",
        "masks": ", ".join(cell.marks),
        **{name: f"{value:.6g}" for name, value in cell.numbers.items()},
    }
    title = "\n".join(f"{key}: {value}" for key, value in known.items() if value not in (None, ""))
    is_idle = has_targets and cell.target is None and cell.role is Role.text
    css = "token idle" if is_idle else f"token {cell.role.name}"
    below = Markup("") if cell.target is None else tag("i", cell.target, css="trained")
    numbers = [tag("small", f"{value:.3g}") for value in cell.numbers.values()]
    return tag("div", tag("i", cell.piece), below, *numbers, css=css, title=title)
