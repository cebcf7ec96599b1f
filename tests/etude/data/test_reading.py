import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from defaults import default
from pyarrow import parquet
from row_files import reader

from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.data import file_parts, line_file, reading, record_file, workers
from etude.data.corpus import prepare, read
from etude.data.documents import Document
from etude.data.reading import read_batches
from etude.data.record_file import write_batches, write_records
from etude.data.workers import Workers
from etude.plugins.objective.clm import ClmConfig
from etude.plugins.tokenizer.byte import ByteConfig

ROWS = [
    *(json.dumps({"text": f"line {i} 你好", "id": i}, ensure_ascii=False) for i in range(60)),
    '{"text": 1}',
    "not JSON",
    "",
    '{"text": "line 3 你好", "other": null, "more": 1}',
]


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", 400)
    monkeypatch.setattr(workers, "MIN_BYTES", 0)


def stored(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def write_files(folder: Path) -> Path:
    folder.mkdir()
    content = "\n".join(ROWS).encode()
    (folder / "a.jsonl").write_bytes(content)
    (folder / "b.jsonl").write_bytes(
        b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n\xff"
    )
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(content))
    (folder / "d.jsonl").write_text(f"[{', '.join(ROWS[:60])}]", encoding="utf-8")
    (folder / "e.jsonl").write_bytes(b"PK\3\4" + content)
    (folder / "f.jsonl").write_bytes(content)
    table = pyarrow.table({"text": [f"cell {i} 文" for i in range(50)], "id": range(50)})
    parquet.write_table(table, folder / "rows.parquet", row_group_size=7)
    (folder / "damaged.parquet").write_bytes(b"PAR1" + bytes(50))
    return folder


def config_of(container: str, folder: Path) -> Any:
    if container == "text":
        return default("data/text", path=str(folder / "*.jsonl"), document=Document.line)
    held_out = {"val_path": str(folder / "f.jsonl"), "val_fraction": 0.1}
    config = reader("text", folder, container)
    return replace(config, **held_out) if container == "jsonl" else config


@pytest.mark.parametrize("container", ["jsonl", "text", "parquet"])
def test_several_processes_store_the_bytes_that_one_stores(
    container: str, tmp_path: Path, pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = build(config_of(container, write_files(tmp_path / "files")))
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for folder in (one, two, three):
        folder.mkdir()
    rows = [row for file in source._files()[0] for row in source.rows(file)]
    assert len(list(source.all_parts())) > 5
    assert list(source.records())[: len(rows)] == rows
    write_records(source.records(), one, 0.1)
    write_batches(read_batches(source, pool), two, 0.1)
    monkeypatch.setattr(reading, "MAX_PART_BYTES", 300)  # larger parts are read by this process
    write_batches(read_batches(source, pool), three, 0.1)
    assert stored(one) == stored(two) == stored(three)
    assert (one / "bad.jsonl").stat().st_size


def test_records_and_tokens_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = config_of("jsonl", write_files(tmp_path / "files"))
    config = ExperimentConfig(objective=ClmConfig(), data=data, tokenizer=ByteConfig())
    found: list[dict[str, bytes]] = []
    monkeypatch.setattr(line_file, "BLOCK_BYTES", 100)
    monkeypatch.setattr(record_file, "PART_BLOCKS", 2)
    for name, min_bytes in (("parallel", 0), ("alone", 10**9)):
        monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / name))
        monkeypatch.setattr(workers, "MIN_BYTES", min_bytes)
        prepare(config)
        files = [file for file in (tmp_path / name).rglob("*") if file.is_file()]
        found.append({str(file.relative_to(tmp_path / name)): file.read_bytes() for file in files})
    assert found[0] == found[1]
    assert read(data).train
