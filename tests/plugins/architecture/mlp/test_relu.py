import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts
from etude.network.stack import FeedForward


def test_is_down_of_relu_of_up() -> None:
    mlp: FeedForward = build(tiny.part("architecture/mlp", "relu"), Parts(8, 2)).double()
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    positive = torch.where(mlp.up(x) > 0, mlp.up(x), 0)
    torch.testing.assert_close(mlp(x), mlp.down(positive))
    assert mlp.up.out_features == 32
