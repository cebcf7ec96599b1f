from pathlib import Path

import torch
from torch import nn

from etude.cli.main import main
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.parts import Layers, StreamParts
from etude.plugins.architecture.stream.sketch import Sketch, SketchConfig


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor, context: Context) -> torch.Tensor:
        return 2 * x


def test_the_embedded_tokens_are_added_before_each_layer() -> None:
    made = Sketch(SketchConfig(start=0.5), StreamParts(4, 2, 10, [None, None], nn.Identity))
    index = torch.arange(3)[None]
    layers = Layers([Doubling(), Doubling()], Context(Position(), index, index, causal=True))
    x = torch.ones(1, 3, 4)
    torch.testing.assert_close(made(x, Inputs(index), layers), 7 * x)  # 2 (2 (1 + 0.5) + 0.5)


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "architecture/stream=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
