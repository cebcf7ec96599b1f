from pathlib import Path

from etude.cli.main import main
from etude.objective import StepSize
from etude.plugins.ramp.sketch import SketchConfig, sketch


def test_the_batch_doubles_until_it_is_full() -> None:
    ramp = sketch(SketchConfig(start=2, every=3))
    full = StepSize(samples=12, length=64)
    assert [ramp(step, full).samples for step in (0, 2, 3, 6, 9)] == [2, 2, 4, 8, 12]


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=3", "trainer.global_batch=4", "tokenizer=byte"]
    own = ["ramp=[sketch]", "data.seq_len=32", f"run={tmp_path / 'run'}"]
    assert main(["train", *small, *own]) == 0
