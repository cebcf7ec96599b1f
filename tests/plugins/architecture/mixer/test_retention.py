from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.parts import Parts

PARTS = Parts(16, 4)
RATES = [1 - 2 ** (-5 - i) for i in range(4)]
"""The decay of each head: equation 8 of the paper."""


def retention(parts: Parts = PARTS, **values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    made = build(tiny.part("architecture/mixer", "retention", **values), parts).double()
    for parameter in (made.norm.weight, made.norm.bias):
        torch.nn.init.normal_(parameter)
    return made


def context(seq: int, documents: Tensor | None = None, position: Position | None = None) -> Context:
    rows = Inputs(torch.zeros(1, seq).long() if documents is None else documents, documents)
    positions = rows.positions()
    return Context(position or Position(), positions, positions, True, documents, documents)


def recurrence(made: Any, x: Tensor, rotate: Any = lambda position, h: h) -> Tensor:
    """S_n = rate S_(n-1) + k_n' v_n and q_n S_n, token by token and head by head."""
    states = [torch.zeros(4, 8, dtype=x.dtype) for _ in RATES]
    rows: list[Tensor] = []
    for position, token in enumerate(x):
        q, k, v = (linear(token).view(4, -1) for linear in (made.q, made.k, made.v))
        heads: list[Tensor] = []
        for i, rate in enumerate(RATES):
            query, key = rotate(position, q[i]), rotate(position, k[i]) / 2
            states[i] = rate * states[i] + torch.outer(key, v[i])
            found = query @ states[i]
            heads.append((found - found.mean()) / (found.var(unbiased=False) + 1e-5).sqrt())
        normed = torch.cat(heads) * made.norm.weight + made.norm.bias
        rows.append(made.out(F.silu(made.gate(token)) * normed))
    return torch.stack(rows)


def test_the_parallel_form_equals_the_recurrence() -> None:
    made, x = retention(), torch.randn(2, 9, 16, dtype=torch.float64)
    found = made(x, context(9))
    for row in range(2):
        tiny.assert_close(found[row], recurrence(made, x[row]))


def test_with_rope_the_parallel_form_equals_the_recurrence() -> None:
    rope = build(tiny.part("architecture/position", "rope"), PARTS)

    def rotate(position: int, head: Tensor) -> Tensor:
        index = torch.tensor([[position]])
        return rope.rotate(head.view(1, 1, 1, 4), Context(rope, index, index, True)).flatten()

    made, x = retention(), torch.randn(1, 6, 16, dtype=torch.float64)
    tiny.assert_close(made(x, context(6, position=rope))[0], recurrence(made, x[0], rotate))


def test_two_tokens_by_hand() -> None:
    made, x = retention(Parts(1, 1), value_ratio=2), torch.tensor([[[2.0], [3.0]]]).double()
    with torch.no_grad():
        for linear, weight in ((made.q, [1.0]), (made.k, [1.0]), (made.v, [1.0, -2.0])):
            linear.weight.copy_(torch.tensor(weight)[:, None])
    made.norm = torch.nn.Identity()
    made.gate = torch.nn.Linear(1, 2).double()
    torch.nn.init.zeros_(made.gate.weight)
    torch.nn.init.constant_(made.gate.bias, 50.0)  # silu(50) = 50
    sums = torch.tensor([[4 * 2.0, 4 * -4.0], [9 * 3 + 31 / 32 * 6 * 2, 9 * -6 + 31 / 32 * 6 * -4]])
    tiny.assert_close(made(x, context(2))[0], made.out(50 * sums.double()))


@pytest.mark.parametrize("cuts", [(8,), (1, 7), (3, 4, 1), (1,) * 8])
@torch.no_grad()
def test_decoding_in_parts_of_any_size_equals_the_parallel_form(cuts: tuple[int, ...]) -> None:
    made = tiny.network(tiny.stack(mixer="retention", position="rope", n_layers=3, n_groups=2))
    ids, cache = tiny.tokens(2, 8), KvCache(8)
    documents = torch.tensor([[1] * 8, [0] * 2 + [1] * 6])
    parts = zip(ids.split(cuts, 1), documents.split(cuts, 1), strict=True)
    found = torch.cat([made(Inputs(*part), cache=cache) for part in parts], 1)
    real = documents > 0
    tiny.assert_close(found[real], made(Inputs(ids, documents))[real])
    shapes = {key: tuple(state.shape) for key, state in cache.states.items()}
    assert shapes == {(layer, "sum"): (2, 4, 4, 8) for layer in range(3)}  # for any text length


@torch.no_grad()
def test_a_state_affects_only_its_own_document() -> None:
    made, ids, cache = tiny.network(tiny.stack(mixer="retention")), tiny.tokens(1, 6), KvCache(6)
    documents = torch.tensor([[1, 1, 2, 2, 2, 2]])
    parts = zip(ids.split((3, 3), 1), documents.split((3, 3), 1), strict=True)
    found = torch.cat([made(Inputs(*part), cache=cache) for part in parts], 1)
    tiny.assert_close(found, made(Inputs(ids, documents)))


def test_padding_that_attends_to_distant_keys_stays_finite() -> None:
    positions, documents = torch.tensor([[0, 9000, 0]]), torch.tensor([[0, 0, 1]])
    given = Context(Position(), positions, positions, True, documents, documents)
    made, x = retention().float(), torch.randn(1, 3, 16)
    found = made(x, given)
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, -1:], made(x[:, -1:], context(1)))


def test_in_bf16_the_state_is_fp32() -> None:
    made, cache = retention().bfloat16(), KvCache(2)
    given = context(2)
    given.cache = cache
    assert made(torch.randn(1, 2, 16).bfloat16(), given).dtype == torch.bfloat16
    assert cache.states[0, "sum"].dtype == torch.float32


def test_a_bidirectional_stack_is_an_error() -> None:
    with pytest.raises(ValueError, match="Use architecture=decoder_only"):
        retention(Parts(16, 4, causal=False))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value_ratio": 0}, "value_ratio must be at least 1, got 0"),
        ({"eps": 0.0}, "eps must be positive, got 0.0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
    ],
)
def test_values_out_of_range_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retention(**values)
