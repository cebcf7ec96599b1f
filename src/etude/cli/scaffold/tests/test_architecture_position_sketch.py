from pathlib import Path

import torch

from etude.cli.main import main
from etude.plugins.architecture.position.sketch import waves


def test_position_0_has_sines_0_and_cosines_1_and_all_positions_differ() -> None:
    found = waves(torch.arange(50)[None], 4, 100.0)[0]
    assert found[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert len({tuple(row) for row in found.tolist()}) == 50


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/position=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
