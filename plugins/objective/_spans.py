"""Labelled spans of words, read from tags: IOB1, IOB2, IOBES and BILOU, by the rules of conlleval.

Tjong Kim Sang & Buchholz 2000, https://aclanthology.org/W00-0726, whose script accepts any order of
tags: a span also begins with an inner tag, and ends where the label changes.
"""

import re
from collections.abc import Collection, Mapping, Sequence

Span = tuple[str, int, int]
"""A label, the index of the first word and that after the last."""
_TAG = re.compile(r"[BILUES]-.+")


def tags_are_spans(labels: Collection[str]) -> bool:
    """Whether all labels are O or tags of spans, such as B-PER, and not parts of speech."""
    tags = [label for label in labels if label != "O"]
    return bool(tags) and all(map(_TAG.fullmatch, tags))


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence, in order."""
    found: list[Span] = []
    start, kind, is_last = 0, "", False
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, label = tag.partition("-")
        if kind and (is_last or prefix in "BSUO" or label != kind):
            found.append((kind, start, i))
            kind = ""
        if not kind and prefix != "O":
            start, kind = i, label
        is_last = prefix in "ESLU"
    return found


def span_sums(found: Sequence[Sequence[str]], due: Sequence[Sequence[str]]) -> dict[str, float]:
    """Numbers of spans in the tags of sentences, for `span_metrics`: right, found and due."""
    spans, expected = (
        {(i, *span) for i, tags in enumerate(side) for span in spans_of(tags)}
        for side in (found, due)
    )
    counts = {"_right": spans & expected, "_found": spans, "_due": expected}
    return {name: float(len(some)) for name, some in counts.items()}


def span_metrics(means: Mapping[str, float]) -> dict[str, float]:
    """Precision, recall and F1 of spans, all labels together; 0 where there is none to divide by.

    `means` are those of `span_sums` over any count, and other metrics, which are returned as well.
    """
    metrics = {name: value for name, value in means.items() if not name.startswith("_")}
    if "_due" in means:
        right, found, due = means["_right"], means["_found"], means["_due"]
        metrics["precision"] = right / found if found else 0.0
        metrics["recall"] = right / due if due else 0.0
        metrics["f1"] = 2 * right / (found + due) if found + due else 0.0
    return metrics
