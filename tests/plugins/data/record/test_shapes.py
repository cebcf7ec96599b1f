"""A reader that rows do not fit names the reader that they fit."""

import json
from pathlib import Path
from typing import Any

import pytest
from row_files import reader, rows_of

from etude.plugins.data.record._shapes import SHAPES, reader_of
from etude.records import BadRow

MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"prompt": "a", "completion": "b", "label": True},
    {"messages": MESSAGES, "label": True},
    {"conversations": MESSAGES, "label": True},
    {"prompt": "a", "completions": ["b", "c"]},
    {"messages": MESSAGES},
    {"conversations": MESSAGES},
    {"prompt": "a", "completion": "b"},
    {"instruction": "a", "output": "b", "history": [["c", "d"]]},
    {"instruction": "a", "output": "b"},
    {"source": "a", "target": "b"},
    {"tokens": ["a"], "tags": ["b"]},
    {"question": "a", "context": "b", "answers": []},
    {"text": "a", "label": "b"},
    {"text": "a", "rating": 1},
    {"choices": ["a", "b"], "answer": 0, "prompt": "c"},
    {"prompt": "a"},
    {"text": "a"},
]


def read(name: str, row: dict[str, Any], folder: Path) -> Any:
    file = folder / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    record, *_ = rows_of(reader(name, file))
    return record


@pytest.mark.parametrize(("row", "shape"), list(zip(ROWS, SHAPES, strict=True)))
def test_the_reader_of_a_shape_reads_it_and_others_name_it(
    row: dict[str, Any], shape: tuple[set[str], str], tmp_path: Path
) -> None:
    _, right = shape
    assert reader_of(row) == right
    assert not isinstance(read(right, row, tmp_path), BadRow)
    for name in {name for _, name in SHAPES} - {right}:
        found = read(name, row, tmp_path)
        if isinstance(found, BadRow) and "no field" in found.reason:
            assert found.reason.endswith(f"; data/record={right} reads such rows")


def test_rows_of_no_known_shape_are_reported_with_their_fields(tmp_path: Path) -> None:
    assert read("pair", {"a": "b"}, tmp_path).reason == "no field 'source' (fields: a)"
