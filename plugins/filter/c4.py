"""The rules of C4: removes lines that are no sentences, and drops pages with few of them.

Raffel et al. 2020, https://jmlr.org/papers/v21/20-074.html, section 2.2, in the order of the code,
tensorflow_datasets/text/c4_utils.py, as datatrove has them too: phrases that drop a page count only
in lines that the rules before it keep. `min_paragraphs` is the rule of mC4 (Xue et al. 2021,
https://arxiv.org/abs/2010.11934, section 3.1). Deviations: marks that end a line are those of many
scripts; in scripts without spaces two characters count as a word. Lines are removed from raw text
only: of other records, such as conversations, all lines stay and the rules about pages are checked.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from etude import Record, Text, only_with, plugin, require
from etude.config import FilterConfig
from etude.data import Change, Drop, Edit, Filter, document_of

from ._words import SENTENCE_ENDS, Words, below, ends_sentence, n_sentences

CITATION: Final = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
"""Marks of Wikipedia, which are removed from each line."""
LINE_ENDS: Final = f"{SENTENCE_ENDS}\"'”’」』"
ELLIPSES: Final = ("...", "…")
SPAN_CHARS: Final = 200
"""Most characters of a removed line in the audit."""


@dataclass
class C4Config(FilterConfig):
    ended_lines: bool = True
    """Remove lines that do not end with the end of a sentence or quotation, or end with an
    ellipsis."""
    min_line_words: int = 3
    """Fewest words of a line."""
    max_word_chars: int = 1000
    """Longest word of a line, in characters between spaces; not checked without spaces."""
    line_phrases: list[str] = field(
        default_factory=lambda: [
            *("javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies"),
            *("use of cookies", "use cookies", "使用条款", "隐私政策"),
        ]
    )
    """Phrases that a removed line contains, in any case; the Chinese ones are étude's."""
    page_phrases: list[str] = field(default_factory=lambda: ["lorem ipsum", "{"])
    """Phrases that a dropped document contains, in any case; { leaves code out."""
    min_sentences: int = 5
    """Fewest sentences of a document, in the lines that stay; at least 1."""
    min_paragraphs: int = 0
    """Fewest lines of at least `paragraph_chars` characters in the document; 0 = not checked. mC4:
    3."""
    paragraph_chars: int = only_with("min_paragraphs>0", 200)
    """Length of a paragraph, in characters; a third of it for Chinese is a fair choice."""

    def __post_init__(self) -> None:
        for name in ("min_line_words", "max_word_chars", "min_paragraphs"):
            require(vars(self)[name] >= 0, f"{name} must not be negative, got {vars(self)[name]}")
        require(
            self.min_sentences >= 1, f"min_sentences must be at least 1, got {self.min_sentences}"
        )
        require(
            all(self.line_phrases) and all(self.page_phrases),
            "line_phrases and page_phrases must not contain an empty phrase",
        )


def line_fault(line: str, config: C4Config) -> str:
    """The rule by which a line is removed; empty if it stays."""
    if not line:
        return "empty line"
    parts = line.split()
    words = Words(line)
    if not words.is_unspaced and max(map(len, parts), default=0) > config.max_word_chars:
        return "long word"
    if config.ended_lines and (not ends_sentence(line, LINE_ENDS) or line.endswith(ELLIPSES)):
        return "no end of a sentence"
    if (words.n_words if words.is_unspaced else len(parts)) < config.min_line_words:
        return "few words in a line"
    return "phrase in a line" if _contained(config.line_phrases, line) else ""


def _contained(phrases: Sequence[str], line: str) -> str:
    """The first of the phrases that a line contains, in any case; empty if it contains none."""
    lower = line.lower()
    return next((phrase for phrase in phrases if phrase.lower() in lower), "")


def without_citations(line: str) -> str:
    """A line without marks such as [2], also those that remain of [[2]]."""
    while (shorter := CITATION.sub("", line)) != line:
        line = shorter
    return line


def page_fault(text: str, config: C4Config) -> Drop | None:
    """The drop by the rule of mC4."""
    n_paragraphs = sum(len(line) >= config.paragraph_chars for line in text.split("\n"))
    return next(below("few paragraphs", n_paragraphs, config.min_paragraphs), None)


@plugin(C4Config)
class C4(Filter[C4Config]):
    """Removes lines of raw text, and drops documents by the lines that remain."""

    per_record = True

    def decide(self, record: Record) -> Drop | Change | None:
        text = document_of(record)
        if fault := page_fault(text, self.config):
            return fault
        removed: dict[str, list[str]] = defaultdict(list)  # by rule
        kept: list[str] = []
        for line in map(str.strip, text.splitlines()):
            short = without_citations(line)
            if isinstance(record, Text) and (rule := line_fault(short, self.config)):
                removed[rule].append(line)
                continue
            if phrase := _contained(self.config.page_phrases, short):
                return Drop("phrase in the page", 1, 0, detail=phrase)
            kept.append(short)
        n_left = sum(map(n_sentences, kept))
        if few := next(below("few sentences", n_left, self.config.min_sentences), None):
            return few
        clean = "\n".join(kept).strip()
        if not isinstance(record, Text) or clean == text:
            return None
        edits = [
            Edit(rule, lines[0][:SPAN_CHARS], "", len(lines)) for rule, lines in removed.items()
        ]
        return Change(Text(clean), edits or [Edit.of_text("citations and spaces", text, clean)])
