"""Laws of filters: reproducible decisions with their reasons, and a result that is clean."""

import math
from collections.abc import Callable, Iterator, Sequence

from etude.config.registry import build
from etude.data.filter import Change, Decision, Drop, Filter
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.records import Chat, Labelled, Message, Pair, Preference, Prompt, Question, Record, Text

PARAGRAPH = (
    "The library keeps every copy of the journal since it was founded. Readers can borrow three "
    "volumes for a week, and may order articles from other libraries by post or by e-mail. "
)
TEXTS = (
    PARAGRAPH,
    PARAGRAPH.upper(),
    PARAGRAPH.replace("three", "four"),
    "图书馆收藏了这份期刊创刊以来的每一期。读者可以借阅三卷，为期一周，也可以通过邮件订购文章。",
    "图书馆收藏了这份期刊创刊以来的每一期。读者可以借阅四卷，为期一周，也可以通过邮件订购文章。",
    "The cafÃ© opens at nine, and youâ€™re welcome; ｆｕｌｌ width\u200b too.",
    "Write to jane.roe@example.org or call +44 20 7946 0958 from 192.168.0.17.",
    "Buy now!!! Buy now!!! Buy now!!! Click here: http://a.example/x { lorem ipsum } javascript",
    "12 + 7 = 19",
    "x",
)
"""Duplicates, near duplicates, two scripts, damaged, personal and worthless text."""
KINDS: Sequence[Callable[[str], Record]] = (
    Text,
    lambda text: Pair(text, f"{text} again"),
    lambda text: Chat((Message("user", text), Message("assistant", f"You wrote: {text}"))),
    lambda text: Prompt(text, "4"),
    lambda text: Preference(text, f"{text} yes", f"{text} no"),
    lambda text: Labelled(text, "label"),
    lambda text: Question("Which?", f"{text} {text}", (text,), (len(text) + 1,)),
)


def decisions_are_reproducible(trial: Trial) -> Finding:
    """Built again, it decides the same about the same records, of every kind."""
    for records in _inputs():
        one, two = ([decision for _, decision in _decide(trial, records)] for _ in range(2))
        if one != two:
            return broken(f"{type(records[0]).__name__}: other decisions in a second pass")
    return held(f"{len(TEXTS)} records of {len(KINDS)} kinds")


def decisions_are_about_one_record(trial: Trial) -> Finding:
    """With `per_record`, it decides the same about each record alone, which processes share."""
    if not _build(trial).per_record:
        return not_applicable("its decisions depend on other records (per_record is not set)")
    for records in _inputs():
        together = _decide(trial, records)
        if together != [one for record in records for one in _decide(trial, [record])]:
            return broken(f"{type(records[0]).__name__}: other decisions about a record alone")
    return held(f"{len(TEXTS)} records of {len(KINDS)} kinds")


def every_decision_has_its_reason(trial: Trial) -> Finding:
    """A drop names a rule, finite numbers and an earlier record; a change has such an edit."""
    n_dropped = n_changed = 0
    for records in _inputs():
        for index, (_, decision) in enumerate(_decide(trial, records)):
            n_dropped += isinstance(decision, Drop)
            n_changed += isinstance(decision, Change)
            reasons = decision.edits if isinstance(decision, Change) else [decision]
            other = decision.other if isinstance(decision, Drop) else None
            named = all(
                one is None or (one.rule and math.isfinite(one.number + one.threshold))
                for one in reasons
            )
            if not (named and reasons and (other is None or 0 <= other < index)):
                return broken(f"record {index}: {decision}")
    return held(f"{n_dropped} dropped and {n_changed} changed of {len(TEXTS) * len(KINDS)} records")


def a_changed_record_is_of_the_same_kind(trial: Trial) -> Finding:
    """A change gives another record of the same kind."""
    for records in _inputs():
        for record, decision in _decide(trial, records):
            if isinstance(decision, Change) and (
                type(decision.record) is not type(record) or decision.record == record
            ):
                return broken(f"{record} became {decision.record}")
    return held()


def filtering_again_changes_nothing(trial: Trial) -> Finding:
    """What it keeps, it keeps unchanged in a second pass."""
    for records in _inputs():
        kept = list(_kept(trial, records))
        if (again := list(_kept(trial, kept))) != kept:
            name = type(records[0]).__name__
            return broken(f"{name}: kept {len(kept)}, then {len(again)}, or others")
    return held(f"{len(KINDS)} kinds of record")


def the_fingerprint_is_stable(trial: Trial) -> Finding:
    """The fingerprint of unchanged files does not change."""
    one, two = (_build(trial).fingerprint() for _ in range(2))
    return holds(one == two, f"{one[:16]!r}" if one == two else f"{one[:16]!r} and {two[:16]!r}")


def _inputs() -> Iterator[list[Record]]:
    """Yields the records of each kind."""
    return ([kind(text) for text in TEXTS] for kind in KINDS)


def _build(trial: Trial) -> Filter:
    return build(trial.tested)


def _decide(trial: Trial, records: Sequence[Record]) -> list[tuple[Record, Decision]]:
    made = _build(trial)
    if made.observes:
        made.observe(records)
    return [(record, made.decide(record)) for record in records]


def _kept(trial: Trial, records: Sequence[Record]) -> Iterator[Record]:
    for record, decision in _decide(trial, records):
        if not isinstance(decision, Drop):
            yield record if decision is None else decision.record
