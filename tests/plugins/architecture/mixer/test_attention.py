import math

import pytest
import tiny
import torch
from torch import Tensor

from etude.network import Context, Mixer, Parts, Position, attend
from etude.registry import build

PARTS = Parts(16, 4)


def context(seq: int, *, causal: bool, documents: Tensor | None = None) -> Context:
    return Context(Position(), torch.arange(seq)[None], causal, documents, documents)


def attention(queries_per_kv: int = 1, seed: int = 0, *, bias: bool = True) -> Mixer:
    torch.manual_seed(seed)
    values = {"queries_per_kv": queries_per_kv, "qkv_bias": bias, "out_bias": bias}
    return build(tiny.part("architecture/mixer", "attention", **values), PARTS).double()


def heads(x: Tensor, head_dim: int = 4) -> Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_is_softmax_of_scaled_products_times_values(causal: bool, packed: bool) -> None:
    made, x = attention(), torch.randn(2, 6, 16, dtype=torch.float64)
    documents = torch.tensor([[1, 1, 2, 2, 2, 3], [1, 1, 1, 1, 0, 0]]) if packed else None
    q, k, v = (heads(linear(x)) for linear in (made.q, made.k, made.v))  # type: ignore[operator]
    scores = q @ k.transpose(-1, -2) / math.sqrt(4)
    for query in range(6):
        for key in range(6):
            if causal and key > query:
                scores[:, :, query, key] = -math.inf
            if documents is not None:
                apart = (documents[:, query] != documents[:, key]) & (documents[:, query] > 0)
                scores[apart, :, query, key] = -math.inf
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    wanted = made.out(mixed)  # type: ignore[operator]
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


def test_without_bias_there_is_none() -> None:
    assert not [name for name, _ in attention(bias=False).named_parameters() if "bias" in name]


def test_a_bias_by_distance_is_added_to_what_may_be_seen() -> None:
    class Nearer(Position):
        def bias(self, context: Context) -> Tensor:
            place = context.positions[0].double()
            return -(place[:, None] - place[None]).abs().expand(1, 4, -1, -1)

    q, k, v = (torch.randn(1, 4, 5, 4, dtype=torch.float64) for _ in range(3))
    given = context(5, causal=True)
    given.position = Nearer()
    scores = q @ k.transpose(-1, -2) / 2 + Nearer().bias(given)
    scores = scores.masked_fill(~torch.ones(5, 5).tril().bool(), -math.inf)
    torch.testing.assert_close(attend(q, k, v, given), scores.softmax(-1) @ v)
