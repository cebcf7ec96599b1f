from pathlib import Path

import pytest
import torch
from torch import nn

from etude.cli.main import main
from etude.plugins.optimizer.sketch import SketchConfig, sketch
from etude.training.optim import OptimizerParameter, ParameterKind


def test_the_first_step_does_not_depend_on_the_size_of_the_gradient() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = sketch(
        SketchConfig(lr=0.1, alpha=0.75), [OptimizerParameter("w", weight, ParameterKind.VECTOR)]
    )
    weight.grad = torch.tensor([3.0, -300.0])
    optimizer.step()
    assert weight.tolist() == pytest.approx([-0.2, 0.2])


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "optimizer=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
