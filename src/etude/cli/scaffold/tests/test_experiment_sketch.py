from pathlib import Path

from etude.cli.main import main


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "experiment=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
