from pathlib import Path

import numpy as np

from etude.cli.main import main
from etude.plugins.environment.sketch import Sketch, SketchConfig


def test_a_question_is_answered_and_an_answer_ends_the_episode() -> None:
    made = Sketch(SketchConfig())
    rng = np.random.default_rng(0)
    texts = [made.step({}, turn, rng).text for turn in made.example({})]
    assert texts == [" (an animal) ", None]


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "objective.max_new_tokens=4"]
    chosen = ["objective=grpo", "environment=sketch", "trainer.global_batch=8"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
