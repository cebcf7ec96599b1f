"""Verdicts of datatrove's filters, with its own words (spaCy's) or with étude's."""

from collections.abc import Sequence
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import (
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

from etude.plugins.filter._words import Words, n_sentences

MODULES = (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter)


def use_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets datatrove's filters count étude's words and sentences."""
    for module in MODULES:
        monkeypatch.setattr(module, "split_into_words", lambda text, language: Words(text).tokens)
    monkeypatch.setattr(
        c4_filters, "split_into_sentences", lambda text, language: ["."] * n_sentences(text)
    )


def verdict(filters: Sequence[Any], text: str) -> tuple[str, str]:
    """The rule of the first of datatrove's filters that drops a text, or "", and what it keeps."""
    document = Document(text=text, id="0")
    for one in filters:
        kept = one.filter(document)
        if kept is not True:
            return kept[1], ""
    return "", document.text
