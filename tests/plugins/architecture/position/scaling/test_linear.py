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


def test_a_place_is_turned_as_a_place_so_many_times_nearer() -> None:
    scaling = tiny.part("architecture/position/scaling", "linear", factor=4.0)
    far, near = (
        build(tiny.part("architecture/position", "rope", **values), Parts(16, 2))
        for values in ({"scaling": scaling}, {})
    )
    x = torch.randn(1, 2, 3, 8, dtype=torch.float64)
    places = torch.tensor([[4, 8, 20]])
    found = far.rotate(x, Context(far, places, places, causal=True))
    wanted = near.rotate(x, Context(near, places // 4, places // 4, causal=True))
    tiny.exactly(found, wanted)


def test_reaching_less_far_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1"):
        scalings.scaling("linear", factor=0.5)
