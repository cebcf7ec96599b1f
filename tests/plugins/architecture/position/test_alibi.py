import pytest
import tiny
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from etude.config.registry import build
from etude.network.context import Context
from etude.network.parts import Parts
from etude.plugins.architecture.position.alibi import slopes

N_POSITIONS = 30


def bias(n_heads: int, *, causal: bool = True) -> torch.Tensor:
    position = build(tiny.part("architecture/position", "alibi"), Parts(8 * n_heads, n_heads))
    positions = torch.arange(N_POSITIONS)[None]
    return position.bias(Context(position, positions, positions, causal), torch.float32)


@pytest.mark.parametrize("n_heads", range(1, 21))
def test_agrees_with_transformers_up_to_a_constant_per_query(n_heads: int) -> None:
    """Theirs adds slope * key position, which differs by slope * query position."""
    found, positions = bias(n_heads)[0], torch.arange(N_POSITIONS)
    theirs = build_alibi_tensor(torch.ones(1, N_POSITIONS), n_heads, torch.float32)
    slope = torch.tensor(slopes(n_heads))[:, None, None]
    wanted = theirs - slope * positions[None, :, None]
    behind = positions[None, :] <= positions[:, None]
    torch.testing.assert_close(found[:, behind], wanted[:, behind], rtol=1e-6, atol=1e-5)


def test_slopes_of_8_heads_halve_from_a_half() -> None:
    assert slopes(8) == [2.0**-i for i in range(1, 9)]


@pytest.mark.parametrize("n_heads", range(1, 21))
def test_each_head_has_a_different_slope_between_0_and_1(n_heads: int) -> None:
    assert len(set(slopes(n_heads))) == n_heads
    assert all(0 < slope < 1 for slope in slopes(n_heads))


def test_the_bias_is_proportional_to_the_distance_on_either_side() -> None:
    found = bias(2, causal=False)
    assert torch.equal(found, found.mT)
    assert found[0, 0, 3, 7] == -4 * slopes(2)[0]
    assert not found.diagonal(dim1=2, dim2=3).any()


def test_the_bias_depends_only_on_the_difference_of_positions() -> None:
    position = build(tiny.part("architecture/position", "alibi"), Parts(16, 2))
    early, late = (torch.arange(first, first + 6)[None] for first in (0, 50))
    found = [position.bias(Context(position, p, p, True), torch.float64) for p in (early, late)]
    assert torch.equal(*found)
