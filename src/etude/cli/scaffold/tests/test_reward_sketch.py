from pathlib import Path

from etude.cli.main import main
from etude.plugins.reward.sketch import Sketch, SketchConfig
from etude.rl.verifier import examine


def test_it_judges_its_bench_as_it_should() -> None:
    assert examine(Sketch(SketchConfig())).misjudged == []


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "objective.max_new_tokens=4"]
    chosen = ["objective=grpo", "reward=sketch", "trainer.global_batch=8"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
