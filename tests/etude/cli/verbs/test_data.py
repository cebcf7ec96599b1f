"""`etude data` prints the data card without a run or a compatible objective."""

from pathlib import Path

import pytest
import tiny

from etude.cli.main import main


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
