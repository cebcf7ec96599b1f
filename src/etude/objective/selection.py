"""Selects the samples to train on, and counts what is left out, by reason."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from etude.data.rendering import TemplateError
from etude.data.source import Samples, Subset
from etude.data.tokenizer import Tokenizer
from etude.data.unwritten import unwritten_in
from etude.errors import DataError


def select(
    samples: Samples, reason: Callable[[Any], str | None], tokenizer: Tokenizer
) -> tuple[Samples, Counter[str]]:
    """Returns the samples whose `reason` is None; the others, and lost parts of these, are counted.

    A sample is also dropped if the chat template rejects it. Raises DataError if all are dropped.
    """
    dropped: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    kept: list[int] = []
    for i in range(len(samples)):
        sample = samples[i]
        try:
            why = reason(sample)
        except TemplateError as error:
            why = str(error)
        if why is None:
            kept.append(i)
            parts.update(unwritten_in(tokenizer, sample))
        else:
            dropped[why] += 1
    if not kept:
        lines = [f"left out  {n:,} of {len(samples):,} samples: {w}" for w, n in dropped.items()]
        raise DataError("No sample is left to train on.\n  " + "\n  ".join(lines))
    return Subset(samples, kept), dropped + parts


def lost_lines(lost: Mapping[str, int]) -> list[str]:
    """Returns the numbers of samples that are dropped or cut as lines for a person to read."""
    return [f"not used  {n:,}: {why}" for why, n in lost.items()]


def refuse_untrainable(samples: Samples, has_targets: Callable[[int], bool], address: str) -> None:
    """Raises DataError if no sample has a target; stops at the first one that has."""
    if not any(map(has_targets, range(len(samples)))):
        raise DataError(
            f"{address}: none of the {len(samples)} samples contains a token to train on.\n"
            "  Check that the tokenizer covers the text, or increase data.seq_len."
        )
