import math
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from etude.context import Context, Position, attend
from etude.network import Parts
from etude.registry import build

PARTS = Parts(16, 4)


def context(seq: int, *, causal: bool, documents: Tensor | None = None) -> Context:
    return Context(
        Position(), torch.arange(seq)[None], torch.arange(seq)[None], causal, documents, documents
    )


def attention(queries_per_kv: int = 1, parts: Parts = PARTS, **values: Any) -> Any:
    """The plugin's own class."""
    torch.manual_seed(0)
    given = {"qkv_bias": True, "out_bias": True, "queries_per_kv": queries_per_kv} | values
    return build(tiny.part("architecture/mixer", "attention", **given), parts).double()


def heads(x: Tensor, head_dim: int = 4) -> Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_is_softmax_of_scaled_products_times_values(causal: bool, packed: bool) -> None:
    made, x = attention(), torch.randn(2, 6, 16, dtype=torch.float64)
    documents = torch.tensor([[1, 1, 2, 2, 2, 3], [1, 1, 1, 1, 0, 0]]) if packed else None
    q, k, v = (heads(linear(x)) for linear in (made.q, made.k, made.v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(4)
    for query in range(6):
        for key in range(6):
            if causal and key > query:
                scores[:, :, query, key] = -math.inf
            if documents is not None:
                apart = (documents[:, query] != documents[:, key]) & (documents[:, query] > 0)
                scores[apart, :, query, key] = -math.inf
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    wanted = made.out(mixed)
    found = made(x, context(6, causal=causal, documents=documents))
    real = torch.ones(2, 6, dtype=torch.bool) if documents is None else documents > 0
    torch.testing.assert_close(found[real], wanted[real])


@pytest.mark.parametrize("queries_per_kv", [2, 4])
def test_shared_keys_and_values_equal_repeated_ones(queries_per_kv: int) -> None:
    shared, full = attention(queries_per_kv), attention()
    state = shared.state_dict()
    for name in ("k", "v"):
        for kind in ("weight", "bias"):
            few = state[f"{name}.{kind}"].unflatten(0, (-1, 4))
            state[f"{name}.{kind}"] = few.repeat_interleave(queries_per_kv, 0).flatten(0, 1)
    full.load_state_dict(state)
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    given = context(6, causal=True)
    torch.testing.assert_close(shared(x, given), full(x, given))


def test_queries_per_kv_must_divide_the_heads() -> None:
    with pytest.raises(ValueError, match="queries_per_kv must divide n_heads, got 3 for 4"):
        attention(3)
    with pytest.raises(ValueError, match="queries_per_kv must be at least 1, got 0"):
        attention(0)


@pytest.mark.parametrize("kind", ["qkv_bias", "out_bias"])
def test_biases_are_where_they_are_asked_for(kind: str) -> None:
    made = attention(**({"qkv_bias": False, "out_bias": False} | {kind: True}))
    found = {name for name, _ in made.named_parameters() if name.endswith("bias")}
    assert found == ({"out.bias"} if kind == "out_bias" else {"q.bias", "k.bias", "v.bias"})


def test_heads_may_be_wider_than_their_share() -> None:
    made = attention(parts=Parts(16, 4, key_dim=6), queries_per_kv=2)
    shapes = [tuple(linear.weight.shape) for linear in (made.q, made.k, made.v, made.out)]
    assert shapes == [(24, 16), (12, 16), (12, 16), (16, 24)]
    x = torch.randn(1, 3, 16, dtype=torch.float64)
    assert made(x, context(3, causal=True)).shape == (1, 3, 16)


def test_normalised_queries_and_keys_have_a_mean_square_of_one() -> None:
    made, x = attention(qk_norm=True, qk_norm_eps=1e-12), torch.randn(1, 3, 16).double()
    plain = attention()
    unit = [
        h / h.square().mean(-1, keepdim=True).sqrt() for h in (heads(plain.q(x)), heads(plain.k(x)))
    ]
    scores = (unit[0] @ unit[1].transpose(-1, -2) / 2).softmax(-1)
    wanted = plain.out((scores @ heads(plain.v(x))).transpose(1, 2).flatten(2))
    torch.testing.assert_close(made(x, context(3, causal=False)), wanted)


def test_a_bias_by_distance_is_added_to_what_may_be_seen() -> None:
    class Nearer(Position):
        def bias(self, context: Context, dtype: torch.dtype) -> Tensor:
            place = context.positions[0].to(dtype)
            return -(place[:, None] - place[None]).abs().expand(1, 4, -1, -1)

    q, k, v = (torch.randn(1, 4, 5, 4, dtype=torch.float64) for _ in range(3))
    given = context(5, causal=True)
    given.position = Nearer()
    scores = q @ k.transpose(-1, -2) / 2 + Nearer().bias(given, q.dtype)
    scores = scores.masked_fill(~torch.ones(5, 5).tril().bool(), -math.inf)
    torch.testing.assert_close(attend(q, k, v, given), scores.softmax(-1) @ v)
