"""JSON Lines, or a JSON array: a row of named fields for each record."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, plugin
from etude.data import Row, RowFileConfig, RowFileSource, read_json_rows


@dataclass
class JsonlConfig(RowFileConfig):
    """No knobs of its own."""


@plugin(JsonlConfig, example={"path": '{file}{"text": "This is text #."}'})
class Jsonl(RowFileSource[JsonlConfig]):
    """Fields have JSON's types, and nested ones are named with dots."""

    suffixes = (".jsonl", ".ndjson")  # in a folder, .json is mostly something else

    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        yield from read_json_rows(file)
