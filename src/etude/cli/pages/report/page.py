"""One self-contained HTML page on any number of runs, which needs no network."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from etude.cli.pages.report import (
    comparison,
    curves,
    evaluations,
    records,
    scaling,
    sweep,
)
from etude.cli.pages.report.markup import Markup, join_markup, script_json, tag
from etude.cli.pages.report.runs import RunState
from etude.cli.pages.report.view import Section, View

PLACE = Path(__file__).parent


def drawn_curves(view: View) -> Section:
    """Returns the section of curves; the page's script draws them."""
    panels = curves.panels(view.runs)
    drawn = curves.curve_data(view.runs)
    has_flops = any("flops" in table["x"] for run in drawn for table in run["tables"])
    axes = {key: name for key, name in curves.AXES.items() if has_flops or key != "flops"}
    look: dict[int, dict[str, Any]] = {}
    grouped = len(view.groups) > 1
    for number, group in enumerate(view.groups):
        for place, i in enumerate(group.members):
            look[i] = {"color": number, "dash": place} if grouped else {"color": i, "dash": i // 10}
    runs = [
        {"name": run.name, "label": label, "folder": str(run.folder), **look[i], **drawn[i]}
        for i, (run, label) in enumerate(zip(view.runs, view.labels, strict=True))
    ]
    body: list[Markup] = [tag("div", css="controls", id="controls")]
    body += [tag("div", css="legend", id="legend")]
    for number, panel in enumerate(panels):
        body += [tag("h3", panel["title"]), tag("div", css="grid", id=f"panel-{number}")]
    data: dict[str, Any] = {"runs": runs, "panels": panels, "axes": axes}
    longest = max((len(run.steps) for run in view.runs), default=0)
    data |= {"smoothing": curves.WEIGHTS, "smooth": int(longest >= curves.FEW_STEPS)}
    return Section(join_markup(body), data)


SECTIONS: dict[str, Callable[[View], Section | None]] = {
    "Leaderboard": records.leaderboard,
    "Evaluations": evaluations.section,
    "Curves": drawn_curves,
    "Comparison": comparison.section,
    "Sweep": sweep.section,
    "Scaling": scaling.section,
    "Differences": records.differences,
    "Samples": records.samples,
    "Data": records.data,
    "Costs": records.costs,
}
"""Every section of the page in order; empty ones are left out."""


def page(view: View, problems: Sequence[str], watch: float | None) -> str:
    """Returns the page as HTML; it reloads every `watch` seconds unless that is None."""
    sections = {title: made for title, make in SECTIONS.items() if (made := make(view))}
    data: dict[str, Any] = {"watch": watch}
    for section in sections.values():
        data |= section.data
    running = sum(run.state is RunState.running for run in view.runs)
    count = f"runs: {len(view.runs)} ({running} running); "
    made = Template((PLACE / "page.html").read_text(encoding="utf-8")).substitute(
        title=join_markup(["étude report"]),
        subtitle=join_markup([count, time.strftime("as of %Y-%m-%d %H:%M:%S")]),
        nav=join_markup(tag("a", title, href=f"#{_id(title)}") for title in sections),
        problems=_problems(problems),
        body=join_markup(
            tag("section", tag("h2", title), section.body, id=_id(title))
            for title, section in sections.items()
        ),
        data=script_json(data),
        css=(PLACE / "page.css").read_text(encoding="utf-8"),
        js=(PLACE / "page.js").read_text(encoding="utf-8"),
    )
    return made.encode("utf-8", "replace").decode("utf-8")  # lone surrogates are invalid UTF-8


def _id(title: str) -> str:
    return "on-" + title.lower().replace(" ", "-")


def _problems(problems: Sequence[str]) -> Markup:
    if not problems:
        return Markup("")
    listed = tag("ul", *(tag("li", problem) for problem in problems))
    return tag("div", tag("b", "Some files could not be read"), listed, css="problems")
