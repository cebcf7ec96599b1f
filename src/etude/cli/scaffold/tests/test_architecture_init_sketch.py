from pathlib import Path

import torch
from torch import nn

from etude.cli.main import main
from etude.plugins.architecture.init.sketch import SketchConfig, sketch


def test_weights_are_within_the_bound_and_biases_are_0() -> None:
    network = nn.Sequential(nn.Embedding(50, 40), nn.Linear(40, 30))
    sketch(SketchConfig(bound=0.5), network, 1)
    for module in network:
        weight = module.get_parameter("weight")
        assert weight.abs().max() <= 0.5
        torch.testing.assert_close(weight.std(), torch.tensor(0.5 / 3**0.5), rtol=0.1, atol=0)
    assert not network[1].get_parameter("bias").any()


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/init=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
