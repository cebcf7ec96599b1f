import json
from pathlib import Path

from etude.cli.main import main


def test_every_logged_step_is_a_line(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    chosen = ["logger=sketch", "trainer.log_every=1"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
    text = (tmp_path / "run/sketch.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["step"] for line in text.splitlines()} == {1, 2}
