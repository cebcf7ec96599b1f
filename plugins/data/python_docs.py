"""The documentation that every Python carries: a corpus of plain English with no download.

About 2 MB: the language reference behind `help()` (pydoc_data; left out where it is missing) and
the docstrings of the standard library, each once. Documents follow one another in the order of
their hashes, so that neighbours in a packed row have nothing to do with one another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from etude import Text, plugin
from etude.config import TextDataConfig
from etude.data import DataSource

from ._stdlib_text import by_hash, docstrings, fingerprint, sources, topics


@dataclass
class PythonDocsConfig(TextDataConfig):
    source: bool = False
    """Also the source code of the standard library, a document a file, about 11 MB."""


@plugin(PythonDocsConfig, yields=Text)
class PythonDocs(DataSource[PythonDocsConfig]):
    """Each chapter and each docstring is a document."""

    def records(self) -> Iterator[Text]:
        texts = {docstring.text for docstring in docstrings()} | set(topics().values())
        if self.config.source:
            texts |= {text for _, text in sources()}
        for text in sorted(texts, key=by_hash):
            if text.strip():
                yield Text(text)

    def fingerprint(self) -> str:
        return fingerprint()
