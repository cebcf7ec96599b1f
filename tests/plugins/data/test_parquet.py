"""Parquet files give the rows that the libraries which wrote them hold."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from pyarrow import parquet
from row_files import reader, rows_of

from etude.config.registry import build
from etude.data.rows import Row
from etude.plugins.data import parquet as plugin
from etude.records import BadRow, Chat, Labelled, Message, Text, Unused


def rows(file: Path) -> list[Row | BadRow]:
    return [*build(reader("text", file, "parquet")).fields(file)]


def test_rows_come_in_order_from_every_row_group_and_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.parquet"
    table = pyarrow.table({"text": [f"文 {i}" for i in range(25)], "id": range(25)})
    parquet.write_table(table, file, row_group_size=7)
    monkeypatch.setattr(plugin, "BATCH_ROWS", 4)
    found = rows(file)
    assert [one.fields for one in found if isinstance(one, Row)] == table.to_pylist()
    assert found[24].place == f"{file}:25"


def test_nested_columns_are_objects_without_the_nulls_that_arrow_adds(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "hi", "name": None},
        {"role": "assistant", "content": "a"},
    ]
    given = [{"meta": {"chat": messages}}, {"meta": {"chat": messages[:1]}}]
    file = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(given), file)
    first = rows(file)[0]
    assert isinstance(first, Row)
    assert "name" not in first.fields["meta"]["chat"][0]
    chat, bad = rows_of(reader("chat", file, "parquet", messages="meta.chat"))
    assert chat == Chat((Message("user", "hi"), Message("assistant", "a")))
    assert bad == BadRow(f"{file}:2", "no message has the role assistant")


def test_classes_have_their_names_and_other_types_are_text(tmp_path: Path) -> None:
    names = ClassLabel(names=["neg", "pos"])
    features = Features({"text": Value("string"), "label": names, "tags": List(names)})
    columns = {"text": ["a", "b"], "label": [1, -1], "tags": [[0, 1], []]}
    file = tmp_path / "rows.parquet"
    Dataset.from_dict(columns, features=features).to_parquet(file)
    first, *_, bad = rows_of(reader("label", file, "parquet"))
    assert first == Labelled("a", "pos")
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith("no field 'label'")
    tags, *_ = rows_of(reader("tags", file, "parquet", tokens="tags"))
    assert tags == Labelled(("neg", "pos"), ("neg", "pos"))
    table = pyarrow.table(
        {"text": [date(2026, 1, 2)], "price": [Decimal("1.50")], "raw": [b"\xff"]}
    )
    parquet.write_table(table, file)
    record, *unused = rows_of(reader("text", file, "parquet"))
    assert record == Text("2026-01-02")
    assert unused == [Unused("field 'price'"), Unused("field 'raw'")]
    (bad,) = rows_of(reader("text", file, "parquet", text="raw"))
    assert bad == BadRow(f"{file}:1", "field 'raw' must be text, not bytes")


def test_a_file_that_is_not_parquet_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_text("text\na\n")
    (bad,) = rows(file)
    assert isinstance(bad, BadRow)
    assert "is not a Parquet file" in bad.reason
