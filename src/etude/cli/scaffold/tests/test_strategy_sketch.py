from pathlib import Path

from etude.cli.main import main


def test_it_trains_on_two_processes(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    chosen = ["strategy=sketch", "trainer.devices=2", "trainer.accelerator=cpu"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
