"""Drops documents that share an n-gram of words with the items of evaluation sets.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, appendix C, with 13-grams. Deviations:
the whole document is dropped, where GPT-3 cuts out the passage; an item shorter than an n-gram is
looked for as a whole, if it has `min_words`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

from omegaconf import MISSING

from etude import BadRow, DataError, Record, plugin, require
from etude.config import FilterConfig
from etude.data import Drop, Filter, document_of, find_files, lines, ngrams, words_of
from etude.files import sha256

SUFFIXES = (".jsonl", ".ndjson", ".txt")
"""Suffixes of the files that are read in a folder."""


@dataclass
class DecontaminateConfig(FilterConfig):
    path: str | None = MISSING
    """Evaluation sets: a file, a folder or a pattern. Each line of a text file is an item, and each
    text in a row of a JSON Lines file; null = those of `sets` alone."""
    sets: dict[str, str] = field(default_factory=dict[str, str])
    """Named evaluation sets, each with its path: `sets={gsm8k:gsm8k.jsonl,mmlu:mmlu}`. Dropped
    records are counted by set."""
    ngram: int = 13
    """Words of an n-gram; a Chinese character is a word. Typical: 8-20."""
    max_overlap: int = 0
    """Most n-grams that a document may share with one item. Typical: 0-5."""
    min_words: int = 8
    """Items with fewer words are not looked for: they occur everywhere. Typical: 5-13."""

    def __post_init__(self) -> None:
        paths = [*self.sets.values(), *([] if self.path is None else [self.path])]
        require(bool(paths) and all(paths), "path is empty: give the files of an evaluation set")
        for name in ("ngram", "min_words"):
            value = vars(self)[name]
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.max_overlap >= 0, f"max_overlap must be 0 or more, got {self.max_overlap}")


@plugin(
    DecontaminateConfig,
    example={"path": "{file}The library keeps every copy of the journal since it was founded."},
)
class Decontaminate(Filter[DecontaminateConfig]):
    """Drops a document that contains n-grams of an evaluation item; the audit names the item."""

    per_record = True

    def __init__(self, config: DecontaminateConfig) -> None:
        super().__init__(config)
        paths = {**({} if config.path is None else {"": config.path}), **config.sets}
        self._files = {name: find_files(path, SUFFIXES).paths for name, path in paths.items()}
        """The files of each set; of `path`, without a name."""
        self._items: dict[int, dict[str, list[tuple[str, str]]]] = {}
        """The set and place of each item with an n-gram, by its number of words and its text."""

    def decide(self, record: Record) -> Drop | None:
        if not self._items:
            self._read()
        words = words_of(document_of(record))
        hits: Counter[tuple[str, str]] = Counter()
        example: dict[tuple[str, str], str] = {}
        for n, items in self._items.items():
            for gram in dict.fromkeys(ngrams(words, n)):
                for item in items.get(gram, ()):
                    hits[item] += 1
                    example.setdefault(item, gram)
        item, n_hits = hits.most_common(1)[0] if hits else (("", ""), 0)
        if n_hits <= self.config.max_overlap:
            return None
        detail = f"{item[1]}: {example[item]}"
        rule = " of ".join(filter(None, ("evaluation item", item[0])))
        return Drop(rule, n_hits, self.config.max_overlap, detail)

    def fingerprint(self) -> str:
        """A digest of the contents of the files, in order."""
        files = chain.from_iterable(self._files.values())
        return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()

    def _read(self) -> None:
        """Reads the items. Raises DataError if none of a set is long enough."""
        for name, files in self._files.items():
            items = [
                (place, words)
                for place, text in chain.from_iterable(map(_items, files))
                if len(words := words_of(text)) >= self.config.min_words
            ]
            if not items:
                raise DataError(
                    f"filter.decontaminate.{f'sets.{name}' if name else 'path'}: no item has "
                    f"{self.config.min_words} words.\n  Choose a smaller min_words."
                )
            for place, words in items:
                n = min(len(words), self.config.ngram)
                for gram in dict.fromkeys(ngrams(words, n)):
                    self._items.setdefault(n, {}).setdefault(gram, []).append((name, place))


def _items(file: Path) -> Iterator[tuple[str, str]]:
    """Yields the place and the text of each item. Raises DataError for a line that is not one."""
    for line in lines(file):
        if isinstance(line, BadRow):
            raise DataError(f"filter.decontaminate: {line.place}: {line.reason}.")
        place, text = line
        if {".jsonl", ".ndjson"} & {*file.suffixes}:
            try:
                yield from ((place, one) for one in _strings(json.loads(text)))
            except json.JSONDecodeError as error:
                raise DataError(f"filter.decontaminate: {place}: {error}.") from error
        else:
            yield place, text


def _strings(value: object) -> Iterator[str]:
    """Yields every text in a JSON value."""
    match value:
        case str():
            yield value
        case list():
            for one in cast(list[Any], value):
                yield from _strings(one)
        case dict():
            for one in cast(dict[str, Any], value).values():
                yield from _strings(one)
        case _:
            pass
