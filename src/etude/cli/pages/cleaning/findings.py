"""What filters did to a data set: lengths, decisions with examples, n-grams and word associations.

The associations are those of Bordia & Bowman 2019, https://arxiv.org/abs/1904.03035, with pointwise
mutual information instead of a ratio of two groups: how much more often than by chance a word is
within WINDOW words of a word of a group.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from etude.data.corpus import Records
from etude.data.filter import document_of
from etude.data.filtering import AUDIT
from etude.data.record_file import read_records
from etude.data.words import ngrams, words_of

N_EXAMPLES: Final = 3
N_TOP: Final = 15
NGRAM: Final = 3
WINDOW: Final = 10
MIN_COUNT: Final = 5
"""Least number of times that a word is near a group to be listed: PMI overrates rare words."""
N_SAMPLED: Final = 5000
"""Records that are read for n-grams and associations, at equal distances."""
GROUPS: Final[Mapping[str, frozenset[str]]] = {
    group: frozenset(words.split())
    for group, words in {
        "female": "she her hers woman women girl girls mother wife daughter 她",
        "male": "he him his man men boy boys father husband son 他",
        "Christian": "christian christians church",
        "Jewish": "jew jews jewish synagogue",
        "Muslim": "muslim muslims islam mosque",
        "African": "african africans",
        "Asian": "asian asians",
        "European": "european europeans",
        "old": "elderly grandmother grandfather",
        "disabled": "disabled disability wheelchair",
    }.items()
}
"""Words of groups of people; a short list that shows associations and does not measure harm."""


@dataclass(frozen=True)
class Example:
    """A line of the audit, with the beginning of its record and of the one that it duplicates."""

    line: dict[str, Any]
    text: str
    other: str

    @property
    def place(self) -> str:
        """The location of the record in the source, or its number if it has none."""
        return self.line.get("place", f"record {self.line['record']:,}")

    @property
    def other_place(self) -> str:
        """That of the record that it duplicates."""
        return self.line.get("other_place", f"record {self.line['other']:,}")


@dataclass
class Decisions:
    """The lines of the audit of one filter and rule."""

    n: int = 0
    examples: list[Example] = field(default_factory=list[Example])
    results: Counter[str] = field(default_factory=Counter[str])
    """How often each detail of a drop, or text after an edit, occurs."""


@dataclass(frozen=True)
class Findings:
    """What is on the card of a cleaned data set."""

    before: Counter[int]
    """Documents by the binary logarithm of their length in characters."""
    after: Counter[int]
    dropped: dict[tuple[str, str], Decisions]
    """By filter and rule."""
    changed: dict[tuple[str, str], Decisions]
    top_ngrams: list[tuple[str, int]]
    """The n-grams in most records of the sample."""
    n_sampled: int
    associations: dict[str, tuple[int, list[tuple[str, int, float]]]]
    """For each group: how often it occurs; words near it, how often, and their PMI in bits."""


def findings_of(records: Records) -> Findings:
    """Reads the records before and after the filters, and the audit."""
    after = read_records(records.folder, records.kind)
    n_kept = len(records.train) + len(records.val)
    step = max(1, n_kept // N_SAMPLED)
    sample = [words_of(document_of(one)) for i, one in enumerate(after) if i % step == 0]
    dropped, changed = _decisions(records)
    counts = Counter(gram for words in sample for gram in {*ngrams(words, NGRAM)})
    return Findings(
        before=_lengths(records.source, records),
        after=_lengths(records.folder, records),
        dropped=dropped,
        changed=changed,
        top_ngrams=sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:N_TOP],
        n_sampled=len(sample),
        associations=associations(sample),
    )


def associations(
    documents: Iterable[list[str]],
) -> dict[str, tuple[int, list[tuple[str, int, float]]]]:
    """The words near each group: log2 of p(word | near the group) / p(word), in bits."""
    total: Counter[str] = Counter()
    near: dict[str, Counter[str]] = {group: Counter() for group in GROUPS}
    for words in documents:
        total.update(words)
        for group, names in GROUPS.items():
            places = {
                i
                for center, word in enumerate(words)
                if word in names
                for i in range(max(0, center - WINDOW), min(len(words), center + WINDOW + 1))
            }
            near[group].update(words[i] for i in places if words[i] not in names)
    n_words = total.total()
    found: dict[str, tuple[int, list[tuple[str, int, float]]]] = {}
    for group, names in GROUPS.items():
        n_near = near[group].total()
        rows = [
            (word, n, math.log2(n / n_near * n_words / total[word]))
            for word, n in near[group].items()
            if n >= MIN_COUNT
        ]
        if n_group := sum(total[name] for name in names):
            found[group] = n_group, sorted(rows, key=lambda row: (-row[2], row[0]))[:N_TOP]
    return found


def _lengths(folder: Path, records: Records) -> Counter[int]:
    documents = map(document_of, read_records(folder, records.kind))
    return Counter(len(text).bit_length() - 1 for text in documents if text)


def _decisions(records: Records) -> tuple[dict[tuple[str, str], Decisions], ...]:
    """What was dropped and what was changed.

    If an edit hides what it replaced, examples are without texts: those of the source contain it.
    """
    parts: tuple[dict[tuple[str, str], Decisions], ...] = {}, {}
    shows_texts = True
    chosen: list[tuple[Decisions, dict[str, Any]]] = []
    for line in _audit(records.folder):
        is_edit = "before" in line or "after" in line
        shows_texts &= not is_edit or "before" in line
        rule = parts[is_edit].setdefault((line["filter"], line["rule"]), Decisions())
        rule.n += 1
        rule.results[line.get("after" if is_edit else "detail", "")] += 1
        if rule.n <= N_EXAMPLES:
            chosen.append((rule, line))
    wanted = {line[key] for _, line in chosen for key in ("record", "other") if key in line}
    source = read_records(records.source, records.kind) if shows_texts else ()
    texts = {i: document_of(one) for i, one in enumerate(source) if i in wanted}
    for rule, line in chosen:
        own, other = (texts.get(line.get(key, -1), "") for key in ("record", "other"))
        rule.examples.append(Example(line, own, other))
    return parts


def _audit(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / AUDIT).open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)
