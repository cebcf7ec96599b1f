import pytest

from etude.cli.main import main


def test_it_is_a_search_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "sweep=sketch", "--cfg", "hydra"]) == 0
    assert "optimizer.lr: tag(log, interval(1e-4, 1e-2))" in capsys.readouterr().out
