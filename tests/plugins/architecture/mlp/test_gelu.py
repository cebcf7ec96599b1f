import math

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts
from etude.network.stack import FeedForward, hidden_size


def made(**values: object) -> FeedForward:
    torch.manual_seed(0)
    return build(tiny.part("architecture/mlp", "gelu", **values), Parts(8, 2)).double()


def test_is_down_of_gelu_of_up() -> None:
    mlp, x = made(), torch.randn(2, 3, 8, dtype=torch.float64)
    up = x @ mlp.up.weight.T + mlp.up.bias
    gelu = up * (1 + torch.erf(up / math.sqrt(2))) / 2
    torch.testing.assert_close(mlp(x), gelu @ mlp.down.weight.T + mlp.down.bias)


def test_tanh_is_the_approximation_of_the_paper() -> None:
    tanh = type(tiny.part("architecture/mlp", "gelu").approximate).tanh
    mlp, x = made(approximate=tanh), torch.randn(2, 3, 8, dtype=torch.float64)
    up = mlp.up(x)
    gelu = up / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
    torch.testing.assert_close(mlp(x), mlp.down(gelu))


def test_ratio_and_bias_set_the_shape() -> None:
    mlp = made(ratio=1.5, bias=False)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(12, 8), (8, 12)]


@pytest.mark.parametrize(
    ("dim", "ratio", "multiple", "hidden"),
    [(768, 4.0, 1, 3072), (4096, 8 / 3, 256, 11008), (12, 8 / 3, 16, 32), (6, 8 / 3, 1, 16)],
)
def test_hidden_size_is_rounded_up_but_not_by_rounding_errors(
    dim: int, ratio: float, multiple: int, hidden: int
) -> None:
    assert hidden_size(dim, ratio, multiple) == hidden


def test_ratio_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"ratio must be positive, got 0\.0"):
        made(ratio=0.0)
