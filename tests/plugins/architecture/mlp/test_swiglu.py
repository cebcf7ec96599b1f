import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_is_down_of_silu_gate_times_up() -> None:
    mlp = build(tiny.part("architecture/mlp", "swiglu", bias=True), Parts(8, 2)).double()
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    gate = mlp.gate(x)
    torch.testing.assert_close(mlp(x), mlp.down(gate / (1 + (-gate).exp()) * mlp.up(x)))


@pytest.mark.parametrize(("dim", "multiple_of", "hidden"), [(16, 16, 48), (16, 1, 43), (12, 8, 32)])
def test_the_width_is_rounded_up_to_a_multiple(dim: int, multiple_of: int, hidden: int) -> None:
    config = tiny.part("architecture/mlp", "swiglu", multiple_of=multiple_of)
    assert build(config, Parts(dim, 2)).up.out_features == hidden
