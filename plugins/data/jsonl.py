"""JSON Lines, or a JSON array: a row of named fields for each record."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, plugin
from etude.data import FilePart, Row, RowFileConfig, RowFileSource, json_parts, read_json_rows


@dataclass
class JsonlConfig(RowFileConfig):
    """No knobs of its own."""


@plugin(JsonlConfig, example={"path": '{file}{"text": "This is text #."}'})
class Jsonl(RowFileSource[JsonlConfig]):
    """Fields have JSON's types, and nested ones are named with dots."""

    suffixes = (".jsonl", ".ndjson")  # in a folder, .json is mostly something else

    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        return read_json_rows(FilePart(file))

    def parts(self, file: Path) -> Iterator[FilePart]:
        return json_parts(file)

    def part_fields(self, part: FilePart) -> Iterator[Row | BadRow]:
        return read_json_rows(part)
