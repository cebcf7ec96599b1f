"""The data card of a cleaned data set, as Markdown and as one HTML page that needs no network."""

from collections.abc import Iterator, Mapping, Sequence
from string import Template

from etude.cli.pages.cleaning.blocks import Bars, Block, Heading, Note, Plain, Sides, Table
from etude.cli.pages.cleaning.findings import (
    MIN_COUNT,
    N_TOP,
    NGRAM,
    WINDOW,
    Decisions,
    Findings,
)
from etude.cli.pages.report.markup import join_markup
from etude.cli.pages.report.page import PLACE
from etude.data.filtering import FilterReport

TITLE = "Data card"
HIDDEN = "not shown: the source contains personal data"
CHARS = 1500
"""Characters of a text that are shown next to another one."""


def blocks_of(card: str, report: FilterReport, findings: Findings) -> list[Block]:
    """The blocks of a card; `card` is the data card for the terminal."""
    return [
        Plain(card),
        *_counts(report),
        *_lengths(findings),
        *_dropped(findings.dropped),
        *_duplicates(findings.dropped),
        *_changed(findings.changed),
        *_ngrams(findings),
        *_associations(findings),
    ]


def markdown(blocks: Sequence[Block]) -> str:
    """The card as Markdown."""
    return "\n\n".join([f"# {TITLE}", *(block.markdown() for block in blocks)]) + "\n"


def html(blocks: Sequence[Block]) -> str:
    """The card as one HTML page, light or dark as the reader's system."""
    page = Template((PLACE / "page.html").read_text(encoding="utf-8")).substitute(
        title=TITLE,
        subtitle="",
        nav="",
        problems="",
        body=join_markup(block.html() for block in blocks),
        data="{}",
        css=(PLACE / "page.css").read_text(encoding="utf-8"),
        js="",
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _counts(report: FilterReport) -> Iterator[Block]:
    yield Heading("Counts")
    rows: list[tuple[str, str, int, int]] = []
    for name, counts in report.filters.items():
        for rule in dict.fromkeys((*counts.dropped, *counts.changed)):
            rows.append((name, rule, counts.dropped.get(rule, 0), counts.changed.get(rule, 0)))
    n_dropped = report.n_in - report.n_kept
    yield Note(f"{report.n_in:,} records read = {report.n_kept:,} kept + {n_dropped:,} dropped.")
    yield Table(("filter", "rule", "dropped", "changed"), rows)


def _lengths(findings: Findings) -> Iterator[Block]:
    yield Heading("Lengths")
    powers = sorted(findings.before.keys() | findings.after.keys())
    powers = list(range(powers[0], powers[-1] + 1))
    counts = [[part[power] for power in powers] for part in (findings.before, findings.after)]
    labels = [f"{2**power:,}+" for power in powers]
    yield Bars("Documents by their length in characters", labels, *counts)


def _dropped(dropped: Mapping[tuple[str, str], Decisions]) -> Iterator[Block]:
    if dropped:
        yield Heading("Dropped")
    for (name, rule), decisions in dropped.items():
        yield Heading(f"{name}: {rule} ({decisions.n:,})", 3)
        rows = [
            (one.place, one.line["number"], one.line["threshold"], one.line.get("detail"))
            for one in decisions.examples
        ]
        texts = [(one.text or HIDDEN,) for one in decisions.examples]
        head = ("record", "number", "threshold", "found", "text")
        yield Table(head, [(*row, *text) for row, text in zip(rows, texts, strict=True)])
        found = decisions.results.most_common(N_TOP)
        if decisions.n > found[0][1] > 1:  # such as languages
            yield Table(("found", "records"), found)


def _duplicates(dropped: Mapping[tuple[str, str], Decisions]) -> Iterator[Block]:
    pairs = [
        (name, one)
        for (name, _), decisions in dropped.items()
        for one in decisions.examples
        if "other" in one.line and one.text
    ]
    if pairs:
        yield Heading("Duplicates and the records that were kept")
    for name, one in pairs:
        similarity = f"dropped by {name} ({one.line['rule']}: {one.line['number']:g})"
        titles = f"{one.other_place}, kept", f"{one.place}, {similarity}"
        yield Sides(titles, (one.other[:CHARS], one.text[:CHARS]))


def _changed(changed: Mapping[tuple[str, str], Decisions]) -> Iterator[Block]:
    if changed:
        yield Heading("Changed")
        yield Note("Spans before an edit are left empty where they are personal data.")
    for (name, rule), decisions in changed.items():
        yield Heading(f"{name}: {rule} ({decisions.n:,} edits)", 3)
        if "before" not in decisions.examples[0].line:
            yield Table(("replaced by", "edits"), decisions.results.most_common(N_TOP))
            continue
        rows = [
            (one.place, one.line.get("before", ""), one.line.get("after", ""))
            for one in decisions.examples
        ]
        yield Table(("record", "before", "after"), rows)


def _ngrams(findings: Findings) -> Iterator[Block]:
    yield Heading("Most frequent n-grams")
    yield Note(
        f"Documents that contain {NGRAM} words in a row, of {findings.n_sampled:,} sampled ones "
        "after the filters; in scripts without spaces a character is a word."
    )
    yield Table(("n-gram", "documents"), findings.top_ngrams)


def _associations(findings: Findings) -> Iterator[Block]:
    yield Heading("Words near words of groups")
    yield Note(
        f"Words within {WINDOW} words of a word of the group, at least {MIN_COUNT} times, with the "
        "highest pointwise mutual information in bits (0 = as often as anywhere). Short lists of "
        "English and Chinese words: associations to look at, not a measure of harm."
    )
    rows = [
        (group, n, ", ".join(f"{word} {bits:.1f} ({near})" for word, near, bits in words) or None)
        for group, (n, words) in findings.associations.items()
    ]
    yield Table(("group", "occurrences", "word, PMI (times)"), rows)
