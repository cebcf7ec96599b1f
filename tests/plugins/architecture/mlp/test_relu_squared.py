from typing import Any

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def made(**values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    return build(tiny.part("architecture/mlp", "relu_squared", **values), Parts(8, 2)).double()


def test_is_down_of_squared_relu_of_up() -> None:
    mlp, x = made(bias=True), torch.randn(2, 3, 8, dtype=torch.float64)
    up = x @ mlp.up.weight.T + mlp.up.bias
    wanted = torch.where(up > 0, up * up, 0.0) @ mlp.down.weight.T + mlp.down.bias
    torch.testing.assert_close(mlp(x), wanted)


def test_doubling_the_input_quadruples_the_output() -> None:
    mlp, x = made(), torch.randn(2, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(mlp(2 * x), 4 * mlp(x))


def test_ratio_and_bias_set_the_shape() -> None:
    assert [tuple(p.shape) for p in made(ratio=1.5).parameters()] == [(12, 8), (8, 12)]
    assert sum(p.ndim == 1 for p in made(bias=True).parameters()) == 2


def test_ratio_must_be_positive() -> None:
    with pytest.raises(ValueError, match="ratio must be positive"):
        made(ratio=0.0)
