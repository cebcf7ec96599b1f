"""HTML with every text escaped, since the files of runs may contain any text."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

NONE = "–"


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def tag(name: str, *inside: object, css: str = "", **attributes: str) -> Markup:
    """Returns an element; its content is escaped unless it is Markup."""
    named = {"class": css, **attributes}
    written = "".join(f' {key}="{escape(value)}"' for key, value in named.items() if value)
    return Markup(f"<{name}{written}>{join_markup(inside)}</{name}>")


def join_markup(parts: Iterable[object]) -> Markup:
    """Returns the concatenated parts, each escaped unless it is Markup."""
    return Markup("".join(p if isinstance(p, Markup) else escape(format_value(p)) for p in parts))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """Returns a table; columns that contain only numbers are right-aligned."""
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in head]
    aligned = ["number" if _is_numeric(column) else "" for column in columns]
    line = tag("tr", *(tag("th", n, css=css) for n, css in zip(head, aligned, strict=True)))
    body = [
        tag("tr", *(tag("td", cell, css=css) for cell, css in zip(row, aligned, strict=True)))
        for row in rows
    ]
    whole = tag("table", tag("thead", line), tag("tbody", *body))
    return tag("div", whole, css="scroll")


def format_value(value: Any) -> str:  # what JSON and YAML hold
    """Returns a value as readable text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 and value.is_integer() else f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def script_json(value: Any) -> Markup:  # what JSON holds
    """Returns JSON that cannot close the script element that contains it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _is_numeric(column: Sequence[object]) -> bool:
    known = [cell for cell in column if cell is not None and cell != NONE]
    return bool(known) and all(isinstance(cell, int | float) for cell in known)
