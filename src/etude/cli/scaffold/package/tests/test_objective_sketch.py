from pathlib import Path

import pytest
import torch

from etude.cli.main import main
from etude.plugins.objective._sketch_loss import sketch_loss
from etude.plugins.objective.sketch import SketchConfig


def test_gamma_0_is_dpo_and_a_larger_gamma_down_weights_easy_pairs() -> None:
    p = torch.tensor([0.9, 0.1], dtype=torch.float64)
    margin = p.logit()
    assert torch.allclose(sketch_loss(margin, 0.0), -p.log())
    easy, hard = (sketch_loss(margin, 2.0) / -p.log()).tolist()
    assert (easy, hard) == pytest.approx((0.01, 0.81))


def test_a_negative_gamma_is_rejected() -> None:
    with pytest.raises(ValueError, match="gamma must be 0 or more, got -1"):
        SketchConfig(gamma=-1.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "objective=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
