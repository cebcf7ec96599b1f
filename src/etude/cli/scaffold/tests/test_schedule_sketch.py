from pathlib import Path

import pytest

from etude.cli.main import main
from etude.plugins.schedule.sketch import SketchConfig, sketch


def test_it_decays_from_1_to_0_with_the_given_power() -> None:
    factor = sketch(SketchConfig(warmup_steps=0, power=2.0), 100)
    assert [factor(step) for step in (0, 50, 100, 200)] == pytest.approx([1, 0.25, 0, 0])


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "schedule=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
