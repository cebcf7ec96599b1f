import math
from typing import Any

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.config.schema.blocks import Approximate
from etude.network.parts import Parts


def made(**values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    return build(tiny.part("architecture/mlp", "geglu", **values), Parts(8, 2)).double()


def test_is_down_of_gelu_gate_times_up() -> None:
    mlp, x = made(bias=True), torch.randn(2, 3, 8, dtype=torch.float64)
    gate = mlp.gate(x)
    gelu = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
    torch.testing.assert_close(mlp(x), mlp.down(gelu * mlp.up(x)))


def test_tanh_is_the_approximation_of_t5() -> None:
    mlp = made(approximate=Approximate.tanh)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    gate = mlp.gate(x)
    gelu = gate / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    torch.testing.assert_close(mlp(x), mlp.down(gelu * mlp.up(x)))


def test_width_and_bias_set_the_shape() -> None:
    assert [tuple(p.shape) for p in made(ratio=1.5).parameters()] == [(16, 8), (16, 8), (8, 16)]
    assert sum(p.ndim == 1 for p in made(bias=True).parameters()) == 3


@pytest.mark.parametrize("values", [{"ratio": 0.0}, {"multiple_of": 0}])
def test_values_out_of_range_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        made(**values)
