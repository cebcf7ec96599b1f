from collections import Counter
from html.parser import HTMLParser
from typing import Any

from etude.cli.pages.cleaning.blocks import Bars, Note, Sides, Table
from etude.cli.pages.cleaning.card import HIDDEN, blocks_of, html, markdown
from etude.cli.pages.cleaning.findings import Decisions, Example, Findings
from etude.data.filtering import FilterCounts, FilterReport

REPORT = FilterReport(
    5, 3, {"near": FilterCounts({"copy": 2}), "mask": FilterCounts({}, {"e-mail": 2}, 2)}
)
LINE: dict[str, Any] = {"record": 1, "rule": "copy", "number": 0.9, "threshold": 0.8, "other": 0}
LINE["place"] = "raw.jsonl:7"


def findings(text: str) -> Findings:
    copies = Decisions(2, [Example(LINE, text, "the <first>")] * 2, Counter({"en": 2}))
    mails = Decisions(
        2, [Example({"record": 2, "after": "[EMAIL]"}, "", "")], Counter({"[EMAIL]": 2})
    )
    lengths = Counter({3: 5, 5: 1}), Counter({3: 3})
    near = {"female": (7, [("nurse", 6, 1.25)])}
    return Findings(
        *lengths, {("near", "copy"): copies}, {("mask", "e-mail"): mails}, [("a b c", 2)], 3, near
    )


class Tags(HTMLParser):
    """Checks that every element is closed, and collects what loads something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_both_cards_have_every_section_and_the_counts_add_up() -> None:
    blocks = blocks_of("data  5 records", REPORT, findings("the <second>"))
    page, text = html(blocks), markdown(blocks)
    for shown in ("Lengths", "near: copy (2)", "[EMAIL]", "a b c", "nurse 1.2 (6)"):
        assert shown in page
        assert shown.replace("[", r"\[").replace("]", r"\]") in text
    assert "5 records read = 3 kept + 2 dropped." in text
    assert "the &lt;second&gt;" in page
    assert "raw.jsonl:7, dropped by near" in page
    assert "record 0, kept" in page
    assert r"the \<second\>" in text


def test_the_page_is_complete_without_a_network() -> None:
    tags = Tags(html(blocks_of("card", REPORT, findings("b"))))
    assert not tags.open
    assert tags.loads == ["data:,"]


def test_texts_are_not_shown_if_personal_data_was_replaced() -> None:
    text = markdown(blocks_of("card", REPORT, findings("")))
    assert HIDDEN in text
    assert "Duplicates" not in text


def test_a_bar_is_as_high_as_its_count() -> None:
    drawn = Bars("title", ["1+", "2+"], [10, 5], [0, 5]).html()
    heights = [part.split('"')[0] for part in drawn.split('height="')[1:]]
    assert heights == ["142.0", "0.0", "71.0", "71.0"]


def test_markdown_stays_in_its_cell() -> None:
    assert Table(["a"], [["x|y\nz" + "1" * 300]]).markdown().splitlines()[2].count("|") == 3
    assert Note("a\n# b *c*").markdown() == r"a \# b \*c\*"
    assert "pre" in Sides(("a", "b"), ("c", "d")).html()
