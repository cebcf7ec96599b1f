from pathlib import Path

from etude.cli.main import main


def test_the_distance_from_the_initial_weights_grows(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=4", "tokenizer=byte", "data.seq_len=32"]
    chosen = ["callback=sketch", "callback.sketch.every=2"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
    lines = (tmp_path / "run/sketch.txt").read_text(encoding="utf-8").splitlines()
    steps, moved = zip(*(map(float, line.split()) for line in lines), strict=True)
    assert steps == (2, 4)
    assert 0 < moved[0] < moved[1]
