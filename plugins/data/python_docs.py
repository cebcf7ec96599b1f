"""The documentation in every Python installation: a plain-English corpus without a download.

About 2 MB: the language reference shown by `help()` (pydoc_data; left out if missing) and the
docstrings of the standard library, each once. Documents are ordered by their hashes, so that
neighbours in a packed row are unrelated.
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
    """Also include the source code of the standard library, one document per file, about 11 MB."""


@plugin(PythonDocsConfig, yields=Text)
class PythonDocs(DataSource[PythonDocsConfig]):
    """Each chapter and each docstring is one document."""

    def records(self) -> Iterator[Text]:
        texts = {docstring.text for docstring in docstrings()} | set(topics().values())
        if self.config.source:
            texts |= {text for _, text in sources()}
        for text in sorted(texts, key=by_hash):
            if text.strip():
                yield Text(text)

    def fingerprint(self) -> str:
        return fingerprint()
