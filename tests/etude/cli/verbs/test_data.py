"""`etude data` prints the data card without a run or a compatible objective."""

from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.config import compatibility


def test_the_verb_prints_the_data_card_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tiny.write_preferences(tmp_path)
    with file.open("a", encoding="utf-8") as rows:
        rows.write("no JSON\n")
    overrides = ["data=jsonl_preferences", f"data.path={file.name}", "tokenizer=byte"]
    assert main(["data", *overrides]) == 0
    out = capsys.readouterr().out
    assert "data/jsonl: Preference" in out
    assert "bad rows  1" in out
    assert list(tmp_path.iterdir()) == [file]
    assert main(["data", *overrides, "data.strict=true"]) == 3
    assert main(["data", "data=jsonl_preferences", "data.path=absent.jsonl"]) == 3


def test_what_filters_keep_is_written_with_its_card_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw.txt").write_text("one text\nanother\nOne text.\na third\n", encoding="utf-8")
    source = ["data=text", "data.path=raw.txt", "data.document=line", "tokenizer=byte"]
    assert main(["data", *source, "filter=[exact]", "out=clean"]) == 0
    assert sorted(file.name for file in Path("clean").iterdir()) == [
        "audit.jsonl", "card.html", "card.md", "cleaned.jsonl",
    ]  # fmt: skip
    assert "4 records read = 3 kept + 1 dropped" in Path("clean/card.md").read_text("utf-8")
    capsys.readouterr()
    cleaned = ["data=jsonl", "data.path=clean/cleaned.jsonl", "tokenizer=byte"]
    assert main(["data", *cleaned, "filter=[exact]"]) == 0
    assert "3 records read, 3 kept" in capsys.readouterr().out


def test_nothing_is_overwritten_and_a_folder_needs_a_filter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["data=arithmetic", "tokenizer=byte", f"out={tmp_path}"]
    assert main(["data", *source]) == 2
    assert "no filter is chosen" in capsys.readouterr().err
    assert main(["data", *source, "filter=[exact]"]) == 2
    assert "already exists" in capsys.readouterr().err


def test_without_the_library_of_a_filter_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compatibility, "find_spec", lambda name: None)
    assert main(["data", "data=arithmetic", "tokenizer=byte", "filter=[unicode]"]) == 2
    assert "filter=unicode needs ftfy, which is not installed" in capsys.readouterr().err
