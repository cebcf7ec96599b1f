import pytest
import scalings
import tiny
import torch

from etude.config.registry import build
from etude.network.context import Context
from etude.network.parts import Parts


@pytest.mark.parametrize(("head_dim", "theta"), scalings.SHAPES)
@pytest.mark.parametrize("factor", [1.0, 2.0, 7.5])
def test_agrees_with_transformers(head_dim: int, theta: float, factor: float) -> None:
    wanted = scalings.theirs("linear", head_dim, theta, factor=factor)
    scalings.assert_same(scalings.scaling("linear", factor=factor), theta, wanted)


def test_a_position_is_rotated_like_the_position_divided_by_factor() -> None:
    scaling = tiny.part("architecture/position/scaling", "linear", factor=4.0)
    far, near = (
        build(tiny.part("architecture/position", "rope", **values), Parts(16, 2))
        for values in ({"scaling": scaling}, {})
    )
    x = torch.randn(1, 2, 3, 8, dtype=torch.float64)
    positions = torch.tensor([[4, 8, 20]])
    found = far.rotate(x, Context(far, positions, positions, causal=True))
    wanted = near.rotate(x, Context(near, positions // 4, positions // 4, causal=True))
    tiny.assert_close(found, wanted)


def test_a_factor_below_1_is_an_error() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1"):
        scalings.scaling("linear", factor=0.5)
