import pytest
import scalings
import torch


@pytest.mark.parametrize(("head_dim", "theta"), scalings.SHAPES)
@pytest.mark.parametrize("times", [1, 2, 5])
def test_agrees_with_dynamic_scaling_of_transformers_at_one_length(
    head_dim: int, theta: float, times: int
) -> None:
    """Theirs grows with the length: a factor of 3 becomes this one at `times` the length."""
    reached = 3.0 * times - 2.0
    wanted = scalings.theirs("dynamic", head_dim, theta, factor=3.0, seq_len=64 * times)
    scalings.assert_same(scalings.scaling("ntk", factor=reached), theta, wanted)


def test_the_slowest_pair_is_interpolated_and_the_fastest_unchanged() -> None:
    plain = scalings.scaling("none").frequencies(1e4, 16)
    found = scalings.scaling("ntk", factor=4.0).frequencies(1e4, 16)
    torch.testing.assert_close(found[[0, -1]], plain[[0, -1]] / torch.tensor([1, 4]))
    assert ((found < plain)[1:-1] & (found > plain / 4)[1:-1]).all()


def test_values_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1"):
        scalings.scaling("ntk", factor=0.5)
    with pytest.raises(ValueError, match="ntk needs heads wider than 2, got 2"):
        scalings.scaling("ntk").frequencies(1e4, 2)
