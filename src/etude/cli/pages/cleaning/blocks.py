"""The blocks of a data card, each written as Markdown and as HTML."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from etude.cli.pages.report.markup import Markup, format_value, join_markup, table, tag

CELL_CHARS = 200
HEIGHT, WIDTH, BOTTOM = 160, 720, 18
"""Size of a plot and of its labels, in pixels of its own."""


class Block(ABC):
    """A part of a card."""

    @abstractmethod
    def markdown(self) -> str:
        """The block as Markdown."""

    @abstractmethod
    def html(self) -> Markup:
        """The block as HTML."""


@dataclass(frozen=True)
class Note(Block):
    """A sentence."""

    text: str

    def markdown(self) -> str:
        return _escaped(self.text)

    def html(self) -> Markup:
        return tag("p", self.text, css="soft")


@dataclass(frozen=True)
class Heading(Block):
    """The title of the blocks that follow."""

    text: str
    level: int = 2

    def markdown(self) -> str:
        return f"{'#' * self.level} {_escaped(self.text)}"

    def html(self) -> Markup:
        return tag(f"h{self.level}", self.text)


@dataclass(frozen=True)
class Plain(Block):
    """Lines of text, as in a terminal."""

    text: str

    def markdown(self) -> str:
        return "\n".join(f"    {line}" for line in self.text.splitlines())

    def html(self) -> Markup:
        return tag("pre", self.text, css="whole")


@dataclass(frozen=True)
class Table(Block):
    """Rows of values; longer texts are cut."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def markdown(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)

    def html(self) -> Markup:
        return table(self.head, [[_cut(cell) for cell in row] for row in self.rows])


@dataclass(frozen=True)
class Sides(Block):
    """Two texts next to each other."""

    titles: tuple[str, str]
    texts: tuple[str, str]

    def markdown(self) -> str:
        return Table(self.titles, [self.texts]).markdown()

    def html(self) -> Markup:
        sides = zip(self.titles, self.texts, strict=True)
        return tag("div", *(_figure(title, tag("pre", text)) for title, text in sides), css="grid")


@dataclass(frozen=True)
class Bars(Block):
    """Counts before and after, by label."""

    title: str
    labels: Sequence[str]
    before: Sequence[int]
    after: Sequence[int]

    def markdown(self) -> str:
        rows = list(zip(self.labels, self.before, self.after, strict=True))
        return Table((self.title, "before", "after"), rows).markdown()

    def html(self) -> Markup:
        most = max((*self.before, *self.after, 1))
        step = WIDTH / max(1, len(self.labels))
        drawn: list[Markup] = []
        for i, label in enumerate(self.labels):
            for k, (name, counts) in enumerate((("before", self.before), ("after", self.after))):
                tip = tag("title", f"{label}: {format_value(counts[i])} {name}")
                high = (HEIGHT - BOTTOM) * counts[i] / most
                place = {"x": step * (i + 0.1 + 0.4 * k), "y": HEIGHT - BOTTOM - high}
                size = {"width": 0.38 * step, "height": high}
                numbers = {key: f"{value:.1f}" for key, value in (place | size).items()}
                drawn.append(tag("rect", tip, fill=f"var(--c{k})", **numbers))
            middle = {"x": f"{step * (i + 0.5):.1f}", "y": f"{HEIGHT - 4}"}
            drawn.append(tag("text", label, **middle, **{"text-anchor": "middle"}))
        legend = [
            join_markup([tag("i", css="key", style=f"background: var(--c{k})"), f" {name} "])
            for k, name in enumerate(("before", "after"))
        ]
        picture = tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
        return _figure(self.title, join_markup([*legend, picture]))


def _figure(title: str, inside: Markup) -> Markup:
    return tag("figure", tag("figcaption", tag("b", title)), inside)


def _cell(value: object) -> str:
    return _escaped(format_value(_cut(value)))


def _cut(value: object) -> object:
    is_long = isinstance(value, str) and len(value) > CELL_CHARS
    return f"{value[:CELL_CHARS]}…" if isinstance(value, str) and is_long else value


def _escaped(text: str) -> str:
    """Text on one line, in which no character is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
