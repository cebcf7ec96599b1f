from pathlib import Path

import pytest

from etude.cli.main import main


def test_it_appears_in_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "architecture"]) == 0
    assert main(["show", "architecture=sketch"]) == 0
    assert "architecture.mlp" in capsys.readouterr().out


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
