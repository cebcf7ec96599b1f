from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from etude.config.registry import build
from etude.network.parts import HeadParts


def head(embedding_dim: int = 16, **values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    parts = HeadParts(16, embedding_dim, 37, lambda: nn.LayerNorm(embedding_dim))
    return build(tiny.part("architecture/head", "linear", **values), parts).double()


def states() -> Tensor:
    return 9 * torch.randn(2, 3, 16, dtype=torch.float64)


def test_is_one_linear_layer_with_an_optional_bias() -> None:
    plain, biased, x = head(), head(bias=True), states()
    torch.testing.assert_close(plain(x), x @ plain.out.weight.T)
    torch.testing.assert_close(biased(x), x @ biased.out.weight.T + biased.out.bias)
    assert [name for name, _ in plain.named_parameters()] == ["out.weight"]


def test_states_can_be_divided_by_the_square_root_of_their_width() -> None:
    x = states()
    torch.testing.assert_close(head(scaled=True)(x), head()(x) / 4)
    narrow = head(embedding_dim=8)
    torch.testing.assert_close(head(embedding_dim=8, scaled=True)(x), narrow(x) / 4)


def test_soft_capping_keeps_the_order_of_logits_and_the_value_of_small_ones() -> None:
    x, cap = states(), 5.0
    plain, capped = head()(x), head(softcap=cap)(x)
    torch.testing.assert_close(capped, cap * torch.tanh(plain / cap))
    assert plain.abs().max() > cap > capped.abs().max()
    assert torch.equal(plain.argsort(-1), capped.argsort(-1))
    torch.testing.assert_close(head(softcap=cap)(x / 1e4), plain / 1e4, rtol=1e-5, atol=0)


def test_a_narrow_table_adds_a_projection_without_bias() -> None:
    made, x = head(embedding_dim=8), states()
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {
        "narrow.weight": (8, 16),
        "out.weight": (37, 8),
    }
    torch.testing.assert_close(made(x), x @ made.narrow.weight.T @ made.out.weight.T)


def test_a_cap_must_be_positive() -> None:
    with pytest.raises(ValueError, match="softcap must be positive or null"):
        head(softcap=0.0)
