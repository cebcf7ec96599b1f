from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from etude.cli.main import main
from etude.plugins.objective.masking.sketch import Sketch, SketchConfig


def test_it_respects_the_budget_and_never_masks_special_tokens() -> None:
    tokenizer: Any = SimpleNamespace(vocab=SimpleNamespace(special=frozenset({0, 1})))
    tokens = np.array([0, 5, 6, 1, 7, 8, 9, 0])
    for seed in range(20):
        groups = Sketch(SketchConfig(), tokenizer)(tokens, 2, np.random.default_rng(seed))
        assert sorted(groups[groups > 0]) == [1, 2]
        assert not groups[tokens < 2].any()


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    chosen = ["objective=mlm", "architecture=bert", "objective/masking=sketch"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
