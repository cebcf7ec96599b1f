import pytest

from etude.cli.main import main


def test_its_stages_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "pipeline=sketch", "--cfg", "job"]) == 0
    assert "init_from={base}" in capsys.readouterr().out
