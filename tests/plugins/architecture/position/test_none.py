import tiny
import torch

from etude.config.registry import build
from etude.network.context import Context
from etude.network.inputs import Inputs
from etude.network.parts import Parts


def test_adds_nothing() -> None:
    made = build(tiny.part("architecture/position", "none"), Parts(8, 2))
    x, q = torch.randn(1, 3, 8), torch.randn(1, 2, 3, 4)
    context = Context(made, torch.arange(3)[None], torch.arange(3)[None], causal=True)
    assert made.embed(x, context.positions) is x
    assert made.rotate(q, context) is q
    assert made.bias(context, x.dtype) is None


@torch.no_grad()
def test_without_positions_an_encoder_ignores_order_and_with_any_other_kind_it_does_not() -> None:
    ids = tiny.tokens(1, 6)
    for position in ("none", "learned", "rope", "sinusoidal"):
        made = tiny.network(tiny.stack("encoder_only", position=position))
        before, after = made(Inputs(ids)), made(Inputs(ids.flip(1))).flip(1)
        same = torch.allclose(before, after, rtol=0.0, atol=1e-10)
        assert same == (position == "none"), position
