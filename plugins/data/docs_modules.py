"""Docstrings of the standard library, each labelled with the module or package that it is from.

About 2,700 texts in ten classes, without a download: tkinter, asyncio, email, logging and others.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from etude import Labelled, plugin, require
from etude.config import DataConfig
from etude.data import DataSource

from ._stdlib_text import by_hash, docstrings, fingerprint


@dataclass
class DocsModulesConfig(DataConfig):
    n_modules: int = 10
    """Number of labels: the modules with the most docstrings. Typical: 2-40."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_modules >= 2, f"n_modules must be at least 2, got {self.n_modules}")


@plugin(DocsModulesConfig, yields=Labelled)
class DocsModules(DataSource[DocsModulesConfig]):
    """Yields the docstrings of the largest modules, ordered by hash."""

    def records(self) -> Iterator[Labelled]:
        texts = [(one.name.partition(".")[0], one.text) for one in docstrings()]
        counts = Counter(module for module, _ in texts)
        largest = {module for module, _ in counts.most_common(self.config.n_modules)}
        for module, text in sorted(texts, key=by_hash):
            if module in largest:
                yield Labelled(text, module)

    def fingerprint(self) -> str:
        return fingerprint()
