"""The labels of a head, and whether those of a record are among them."""

from collections import Counter
from collections.abc import Sequence

from etude import DataError, Labelled
from etude.objective import ObjectiveContext


def labels_of(record: Labelled) -> Sequence[str]:
    """The labels of a record; none of a rating."""
    if isinstance(record.label, tuple):
        return record.label
    return (record.label,) if isinstance(record.label, str) else ()


def label_counts(tools: ObjectiveContext) -> Counter[str]:
    """How often each label occurs in the training data."""
    train = tools.train
    return Counter(name for i in range(len(train)) for name in labels_of(train[i]))


def label_names(given: Sequence[str], tools: ObjectiveContext) -> list[str]:
    """Those of the trained head, else those of the config, else all of the training data, sorted.

    Raises DataError if there is only one: nothing can be learned.
    """
    if tools.labels or given:
        return [*(tools.labels or given)]
    found = sorted(label_counts(tools))
    if len(found) < 2:
        raise DataError(
            f"The training data has fewer than two different labels: {', '.join(found) or 'none'}."
            "\n  Add records with other labels; numbers are learned with objective.problem=rating."
        )
    return found


def refuse_unknown(record: Labelled, names: Sequence[str]) -> None:
    """Raises DataError if a label of the record is not one of the head's."""
    for name in labels_of(record):
        if name not in names:
            raise DataError(
                f"The label {name!r} of {str(record.text)[:60]!r} is not one of the "
                f"{len(names):,} labels: {', '.join(names[:20])}.\n"
                "  The labels are those of the training data, unless objective.labels=[...] names "
                "them; name all labels there."
            )
