from pathlib import Path

import pytest
import torch

from etude.cli.main import main
from etude.plugins.objective.sketch import SketchConfig, sketch_advantage


def test_an_advantage_is_relative_to_the_group_and_smaller_below_its_mean() -> None:
    rewards = torch.tensor([[0.0, 1.0], [5.0, 5.0]])
    assert sketch_advantage(rewards, 0.5).tolist() == [[-0.25, 0.5], [0.0, 0.0]]


def test_a_completion_without_a_verdict_has_no_advantage_and_does_not_move_the_mean() -> None:
    (advantage,) = sketch_advantage(torch.tensor([[0.0, 1.0, torch.nan]]), 1.0)
    assert advantage[:2].tolist() == [-0.5, 0.5]
    assert bool(advantage[2].isnan())


def test_a_negative_weight_is_rejected() -> None:
    with pytest.raises(ValueError, match="below must be from 0 to 1, got -1"):
        SketchConfig(below=-1.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    own = ["objective=sketch", "objective.max_new_tokens=4", "objective.group_size=2"]
    assert main(["train", *own, *small, f"run={tmp_path / 'run'}"]) == 0
