from pathlib import Path

from etude.cli.main import main
from etude.plugins.reward.sketch import Sketch, SketchConfig
from etude.rl.verifier import run_bench


def test_it_scores_its_bench_correctly() -> None:
    assert run_bench(Sketch(SketchConfig())).misjudged_results == []


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "objective.max_new_tokens=4"]
    chosen = ["objective=grpo", "reward=sketch", "trainer.global_batch=8"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
