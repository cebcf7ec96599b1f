"""Requests to summarise a docstring: its author's own line is better than another docstring's.

About 2,000 preferences that need no download. A model can only tell the two apart by reading the
request; length and manner give nothing away, for both lines come from one distribution.
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
    """Rejects the line of the neighbour in an order that is as good as random."""

    def records(self) -> Iterator[Preference]:
        requests = summaries()
        for right, wrong in pairwise((*requests, *requests[:1])):
            if right.line != wrong.line:
                yield Preference(right.request, right.line, wrong.line)

    def fingerprint(self) -> str:
        return fingerprint()
