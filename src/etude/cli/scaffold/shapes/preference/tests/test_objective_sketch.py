from pathlib import Path

import pytest
import torch

from etude.cli.main import main
from etude.plugins.objective.sketch import SketchConfig, sketch_loss


def test_an_untrained_policy_has_a_loss_of_1_per_pair() -> None:
    assert sketch_loss(torch.zeros(3), 2.0).tolist() == [1.0, 1.0, 1.0]


def test_a_wrong_order_costs_more_than_the_right_one() -> None:
    wrong, right = sketch_loss(torch.tensor([-1.0, 1.0]), 1.0).tolist()
    assert (wrong, right) == pytest.approx((2.718282, 0.367879), abs=1e-6)


def test_a_sharpness_of_0_is_rejected() -> None:
    with pytest.raises(ValueError, match="sharpness must be positive, got 0"):
        SketchConfig(sharpness=0.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "objective=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
