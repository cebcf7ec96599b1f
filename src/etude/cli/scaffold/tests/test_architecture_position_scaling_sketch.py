from pathlib import Path

import pytest

from etude.cli.main import main
from etude.plugins.architecture.position.scaling.sketch import Sketch, SketchConfig


def test_high_frequencies_are_kept_and_low_ones_divided() -> None:
    plain = Sketch(SketchConfig(factor=1.0)).frequencies(10_000.0, 8).tolist()
    scaled = Sketch(SketchConfig(factor=4.0, kept=0.05)).frequencies(10_000.0, 8).tolist()
    assert scaled == pytest.approx([f if f > 0.05 else f / 4 for f in plain])


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    own = ["architecture=llama", "architecture/position/scaling=sketch"]
    assert main(["train", *own, *small, f"run={tmp_path / 'run'}"]) == 0
