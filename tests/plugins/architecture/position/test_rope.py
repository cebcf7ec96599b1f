from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.parts import Parts


def rope(**values: Any) -> Position:
    return build(tiny.part("architecture/position", "rope", **values), Parts(16, 2))


def rotated(x: Tensor, *positions: int, **values: Any) -> Tensor:
    made = rope(**values)
    return made.rotate(
        x, Context(made, torch.tensor([positions]), torch.tensor([positions]), causal=True)
    )


def test_products_depend_only_on_the_difference_of_positions() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def product(a: int, b: int) -> Tensor:
        return (rotated(q, a) * rotated(k, b)).sum()

    torch.testing.assert_close(product(9, 4), product(105, 100), rtol=0.0, atol=1e-10)
    assert (product(9, 4) - product(9, 5)).abs() > 1e-3


def test_each_pair_is_rotated_by_position_times_its_frequency() -> None:
    x = torch.randn(1, 1, 1, 8, dtype=torch.float64)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    angles = 7 / 100.0 ** (torch.arange(4, dtype=torch.float64) / 4)
    wanted = pairs * torch.polar(torch.ones(4, dtype=torch.float64), angles)
    found = rotated(x, 7, theta=100.0)
    torch.testing.assert_close(torch.complex(found[..., :4], found[..., 4:]), wanted)


def test_layers_with_a_window_can_have_their_own_base() -> None:
    made, positions = rope(theta=160.0, local_theta=10.0), torch.arange(5)[None]
    x = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    seen = Context(made, positions, positions, causal=False)
    wide, near = (made.rotate(x, seen.within(window)) for window in (None, 3))
    assert torch.equal(wide, rope(theta=160.0).rotate(x, replace(seen, memos={})))
    assert torch.equal(near, rope(theta=10.0).rotate(x, replace(seen, memos={})))
    assert not torch.equal(wide, near)


def test_position_0_is_not_rotated_and_rotation_preserves_norms() -> None:
    x = torch.randn(1, 2, 2, 8, dtype=torch.float64)
    found = rotated(x, 0, 5)
    assert torch.equal(found[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1))


def test_angles_are_computed_in_fp32_for_half_precision_inputs() -> None:
    x = torch.ones(1, 1, 1, 8, dtype=torch.bfloat16)
    found, wanted = rotated(x, 1001), rotated(x.double(), 1001)
    torch.testing.assert_close(found.double(), wanted, rtol=0.0, atol=0.02)


def test_embeddings_are_unchanged() -> None:
    x = torch.randn(1, 3, 16)
    assert rope().embed(x, torch.arange(3)[None]) is x


def test_head_dim_must_be_even() -> None:
    with pytest.raises(ValueError, match="rope needs an even head_dim"):
        build(tiny.part("architecture/position", "rope"), Parts(6, 2))
    mixer = tiny.part("architecture/mixer", "attention", head_dim=3)
    with pytest.raises(ValueError, match=r"head_dim .*, got 3"):
        tiny.network(tiny.stack(mixer=mixer, position="rope"))
    tiny.network(tiny.stack(dim=12, mixer=replace(mixer, head_dim=4), position="rope"))


def test_layers_with_their_own_base_are_not_scaled() -> None:
    scaling = tiny.part("architecture/position/scaling", "yarn", factor=4.0)
    made, positions = rope(local_theta=10.0, scaling=scaling), torch.arange(5)[None]
    x = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    near = Context(made, positions, positions, causal=False).within(3)
    assert torch.equal(made.rotate(x, near), rope(theta=10.0).rotate(x, replace(near, memos={})))


def test_a_network_built_on_the_meta_device_has_its_frequencies() -> None:
    with torch.device("meta"):
        made = rope(theta=100.0)
    positions, x = torch.tensor([[7]]), torch.ones(1, 1, 1, 8)
    found = made.rotate(x, Context(made, positions, positions, causal=True))
    assert torch.equal(found, rotated(x, 7, theta=100.0))


def test_a_fraction_of_the_features_is_rotated_like_a_narrower_head() -> None:
    parts, narrow = Parts(16, 2), Parts(8, 2)
    some = build(tiny.part("architecture/position", "rope", rotary_fraction=0.5), parts)
    rope = build(tiny.part("architecture/position", "rope"), narrow)
    x, index = torch.randn(1, 2, 5, 8), torch.arange(5)[None]
    found = some.rotate(x, Context(some, index, index, True))
    assert torch.equal(found[..., :4], rope.rotate(x[..., :4], Context(rope, index, index, True)))
    assert torch.equal(found[..., 4:], x[..., 4:])


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(0.0, "must be in"), (1.5, "must be in"), (0.1, "even number"), (0.4, "even number")],
)
def test_a_fraction_that_rotates_no_pairs_is_an_error(fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(tiny.part("architecture/position", "rope", rotary_fraction=fraction), Parts(16, 2))
