from pathlib import Path
from typing import Any

import numpy as np

from etude.cli.main import main
from etude.plugins.objective.corruption.sketch import Sketch, SketchConfig


def test_the_input_contains_only_the_tokens_with_some_repeated() -> None:
    no_tokenizer: Any = None
    tokens = np.arange(100)
    corrupted, target = Sketch(SketchConfig(repeat_ratio=0.3), no_tokenizer)(
        tokens, np.random.default_rng(0)
    )
    assert target is tokens
    assert sorted(set(corrupted.tolist())) == tokens.tolist()
    assert 110 < len(corrupted) < 150


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    chosen = ["objective=seq2seq", "architecture=t5", "objective/corruption=sketch"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
