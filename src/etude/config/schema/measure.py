"""Metrics that compare an answer with a reference answer, by name."""

from enum import Enum


class Measure(Enum):
    """Similarity of an answer to the reference answer."""

    exact_match = "exact_match"
    chrf = "chrf"
    rouge_l = "rouge_l"
