import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import tiny
from row_files import reader

from etude.config.registry import build
from etude.config.schema.plugins import DataConfig
from etude.data import corpus, filter_stages
from etude.data.corpus import read
from etude.data.filter import Change, Drop, Edit, Filter, document_of
from etude.data.filtering import AUDIT, FilterCounts, FilterReport, filtered, read_report
from etude.data.record_file import place_of, write_records
from etude.data.workers import Workers
from etude.errors import DataError
from etude.laws.filter import TEXTS
from etude.plugins.filter.exact import Exact, ExactConfig
from etude.records import BadRow, Place, Record, Text

EXACT = ExactConfig()


class Longest(Filter[Any]):
    """Keeps the longest texts, in capitals."""

    observes = True

    def observe(self, records: Iterable[Record]) -> None:
        self.longest = max(len(document_of(record)) for record in records)

    def decide(self, record: Record) -> Drop | Change | None:
        text = document_of(record)
        if len(text) < self.longest:
            return Drop("short", len(text), self.longest)
        return Change(Text(text.upper()), [Edit.of_text("case", text, text.upper())] * 2)


def run(texts: str, filters: Mapping[str, Filter[Any]], folder: Path) -> tuple[str, list[Any]]:
    records = map(Text, texts.split())
    kept = [record.text for record in filtered(records, filters, folder) if type(record) is Text]
    audit = (folder / AUDIT).read_text(encoding="utf-8").splitlines()
    return " ".join(kept), [json.loads(line) for line in audit]


def test_filters_apply_in_order_and_the_audit_names_records_of_the_source(tmp_path: Path) -> None:
    filters = {"exact": Exact(EXACT), "longest": Longest(EXACT), "last": Exact(EXACT)}
    kept, audit = run("a bb A bc", filters, tmp_path)
    assert kept == "BB BC"
    duplicate = {"rule": "duplicate", "number": 2, "threshold": 1, "other": 0}
    assert audit[:2] == [
        {"record": 2, "filter": "exact", **duplicate},
        {"record": 0, "filter": "longest", "rule": "short", "number": 1, "threshold": 2},
    ]
    edit = {"filter": "longest", "rule": "case", "number": 1.0, "threshold": 0.0}
    assert audit[2:4] == [{"record": 1, **edit, "before": "bb", "after": "BB"}] * 2
    assert [line["record"] for line in audit[4:]] == [3, 3]


def test_counts_add_up_and_a_record_counts_once_for_each_rule(tmp_path: Path) -> None:
    run("a bb A bc", {"exact": Exact(EXACT), "longest": Longest(EXACT)}, tmp_path)
    report = read_report(tmp_path)
    exact = FilterCounts({"duplicate": 1})
    longest = FilterCounts({"short": 1}, {"case": 2}, 2)
    assert report == FilterReport(4, 2, {"exact": exact, "longest": longest})
    assert list(report.lines()) == [
        "4 records read, 2 kept",
        "  exact: 1 dropped (duplicate 1)",
        "  longest: 1 dropped (short 1), 2 changed (case 2)",
    ]
    n_dropped = sum(sum(counts.dropped.values()) for counts in report.filters.values())
    assert report.n_in == report.n_kept + n_dropped


def test_several_processes_decide_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_stages, "BATCH_CHARS", 300)
    named = ("exact", "unicode", "length", "minhash", "personal", "gopher")
    values: dict[str, Any] = {"length": {"min_chars": 10}, "gopher": {"min_words": 2}}
    texts = [f"{text} {i % 40 or '- - - -'}" for i, text in enumerate([*TEXTS, "a b"] * 12)]
    found: list[Any] = []
    shared = Workers(2)
    for name_of_pool, pool in (("alone", None), ("shared", shared)):
        filters = {name: build(tiny.part("filter", name, **values.get(name, {}))) for name in named}
        folder = tmp_path / name_of_pool
        folder.mkdir()
        kept = list(filtered(map(Text, texts), filters, folder, 40, pool))
        found.append((kept, (folder / AUDIT).read_text(encoding="utf-8"), read_report(folder)))
    shared.stop()
    assert found[0] == found[1]
    counts = found[0][2].filters
    assert all(one.dropped or one.changed for one in counts.values()), counts


def test_it_is_an_error_to_keep_nothing(tmp_path: Path) -> None:
    class Nothing(Filter[Any]):
        def decide(self, record: Record) -> Drop:
            return Drop("any", 1, 0)

    with pytest.raises(DataError, match=r"no record\.\n  2 records read, 0 kept\n    a: 2 dropped"):
        run("a b", {"a": Nothing(EXACT)}, tmp_path)


def source(tmp_path: Path, texts: str = "a b c a d A") -> DataConfig:
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps({"text": text, "more": 1}) for text in texts.split()]
    file.write_text("\n".join([*rows, "{"]), encoding="utf-8")
    return reader("text", file)


def test_filtered_records_are_a_data_set_of_their_own(tmp_path: Path) -> None:
    config = source(tmp_path)
    raw = read(config)
    assert read(config, {}).folder == raw.folder == raw.source
    clean = read(config, {"exact": EXACT})
    assert sorted(map(document_of, chain(clean.train, clean.val))) == ["a", "b", "c", "d"]
    assert clean.filters == FilterReport(6, 4, {"exact": FilterCounts({"duplicate": 2})})
    digests = {raw.digest, clean.digest, read(config, {"exact": ExactConfig(False)}).digest}
    assert len(digests) == 3


def test_bad_rows_and_unused_parts_of_the_source_are_reported_as_without_filters(
    tmp_path: Path,
) -> None:
    experiment = tiny.experiment("clm", tmp_path)
    experiment = replace(
        experiment, data=source(tmp_path), tokenizer=tiny.part("tokenizer", "byte")
    )
    raw = corpus.prepare(experiment).card
    clean = corpus.prepare(replace(experiment, filter={"exact": EXACT})).card
    assert (clean.n_bad, clean.bad_rows, clean.unused) == (1, raw.bad_rows, raw.unused)
    assert raw.noted
    assert not clean.noted
    assert "filters   6 records read, 4 kept\n            exact: 2 dropped" in str(clean)


def test_another_knob_of_a_filter_does_not_read_the_source_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = source(tmp_path)
    read(config, {"exact": EXACT})
    built = corpus.build(config)
    monkeypatch.setattr(type(built), "records", lambda _: pytest.fail("it was read"))
    assert len(read(config, {"exact": ExactConfig(normalize=False)}).train) > 0


def test_filters_keep_the_split_of_the_source(tmp_path: Path) -> None:
    train = source(tmp_path, "a b A c")
    held_out = tmp_path / "val.jsonl"
    held_out.write_text('{"text": "d"}\n{"text": "b"}\n{"text": "D"}\n', encoding="utf-8")
    clean = read(replace(train, val_path=str(held_out)), {"exact": EXACT})
    assert [*map(document_of, clean.train)] == ["a", "b", "c"]
    assert [*map(document_of, clean.val)] == ["d"]
    held_out.write_text('{"text": "b"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="The validation split has no usable record"):
        read(replace(train, val_path=str(held_out)), {"exact": EXACT})


def test_a_duplicate_names_the_number_of_the_other_record_in_the_source(tmp_path: Path) -> None:
    _, audit = run("a bb c bb", {"longest": Longest(EXACT), "exact": Exact(EXACT)}, tmp_path)
    assert (audit[-1]["record"], audit[-1]["other"]) == (3, 1)


def test_the_audit_names_the_line_of_each_record_and_of_the_one_it_duplicates(
    tmp_path: Path,
) -> None:
    config = source(tmp_path, "a b A c")
    lines = (read(config, {"exact": EXACT}).folder / AUDIT).read_text(encoding="utf-8")
    (line,) = map(json.loads, lines.splitlines())
    file = tmp_path / "rows.jsonl"
    assert (line["place"], line["other_place"]) == (f"{file}:3", f"{file}:1")


def test_a_record_without_a_place_leaves_those_of_the_others_alone(tmp_path: Path) -> None:
    rows = [Place("f:1"), Text("a"), Text("b"), BadRow("f:3", "bad"), Place("\n:4"), Text("c")]
    write_records(rows, tmp_path, 0.5)
    assert [*map(place_of(tmp_path), range(3))] == ["f:1", "", "\n:4"]
