"""The card of the data can be had without a run, and without an objective that could use it."""

from pathlib import Path

import pytest
import tiny

from etude.cli.main import main


def test_prints_the_card_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tiny.write_preferences(tmp_path)
    with file.open("a", encoding="utf-8") as rows:
        rows.write("no JSON\n")
    given = ["data=jsonl_preferences", f"data.path={file.name}", "tokenizer=byte"]
    assert main(["data", *given]) == 0
    said = capsys.readouterr().out
    assert "data/jsonl_preferences: Preference" in said
    assert "bad rows  1" in said
    assert list(tmp_path.iterdir()) == [file]
    assert main(["data", *given, "data.strict=true"]) == 3
    assert main(["data", "data=jsonl_preferences", "data.path=absent.jsonl"]) == 3
