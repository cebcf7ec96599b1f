"""Requests to summarise a docstring of the standard library, each with its original summary line.

About 2,000 pairs, without a download; `docs_preferences` adds a rejected answer to the same
requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etude import Pair, plugin
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import fingerprint, summaries


@dataclass
class DocsPairsConfig(DataConfig):
    pass


@plugin(DocsPairsConfig, yields=Pair)
class DocsPairs(DataSource[DocsPairsConfig]):
    """Maps the body of a docstring to its summary."""

    def records(self) -> Iterator[Pair]:
        for summary in summaries():
            yield Pair(summary.request, summary.line)

    def fingerprint(self) -> str:
        return fingerprint()
