from pathlib import Path

import pytest
import torch

from etude.cli.main import main
from etude.plugins.objective.sketch import SketchConfig, sketch_loss


def test_gamma_0_is_cross_entropy_and_a_larger_gamma_down_weights_easy_tokens() -> None:
    log_prob = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    assert torch.equal(sketch_loss(log_prob, 0.0), -log_prob)
    easy, hard = (sketch_loss(log_prob, 2.0) / -log_prob).tolist()
    assert (easy, hard) == pytest.approx((0.01, 0.81))


def test_a_negative_gamma_is_rejected() -> None:
    with pytest.raises(ValueError, match="gamma must be 0 or more, got -1"):
        SketchConfig(gamma=-1.0)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "objective=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
