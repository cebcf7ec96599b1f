"""Requests to summarise a docstring: chosen is its summary line, rejected another docstring's.

About 2,000 preferences, without a download. A model can distinguish the two only by reading the
request: chosen and rejected lines have the same distribution of length and style.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from etude import Preference, plugin
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import fingerprint, summaries


@dataclass
class DocsPreferencesConfig(DataConfig):
    pass


@plugin(DocsPreferencesConfig, yields=Preference)
class DocsPreferences(DataSource[DocsPreferencesConfig]):
    """Rejects the summary of the next docstring in a deterministic random order."""

    def records(self) -> Iterator[Preference]:
        requests = summaries()
        for right, wrong in pairwise((*requests, *requests[:1])):
            if right.line != wrong.line:
                yield Preference(right.request, right.line, wrong.line)

    def fingerprint(self) -> str:
        return fingerprint()
