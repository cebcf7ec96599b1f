from pathlib import Path

from etude.cli.main import main


def test_it_generates(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", *small, f"run={tmp_path / 'run'}"]) == 0
    chosen = ["generator=sketch", "generator.n=2", "max_new_tokens=8"]
    assert main(["generate", f"run={tmp_path / 'run'}", "prompt=Return", *chosen]) == 0
