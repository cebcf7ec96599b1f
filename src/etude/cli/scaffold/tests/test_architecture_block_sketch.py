from pathlib import Path

import pytest

from etude.cli.main import main
from etude.plugins.architecture.block.sketch import SketchConfig


def test_a_start_that_is_not_positive_is_rejected() -> None:
    with pytest.raises(ValueError, match="start must be positive, got 0"):
        SketchConfig(start=0.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/block=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
