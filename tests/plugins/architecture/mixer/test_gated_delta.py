"""Gated DeltaNet against its recurrence and against transformers' Qwen3-Next."""

from typing import Any

import copied
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.parts import Parts

PARTS = Parts(16, 2)


def mixer(**values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    return build(tiny.part("architecture/mixer", "gated_delta", **values), PARTS).double()


def context(seq: int, documents: Tensor | None = None) -> Context:
    rows = Inputs(torch.zeros(1, seq).long() if documents is None else documents, documents)
    positions = rows.positions()
    return Context(Position(), positions, positions, True, documents, documents)


def recurrence(made: Any, x: Tensor) -> Tensor:
    """Equation 10 of the paper, token by token and head by head, in fp64."""
    before = F.pad(made.qkv(x), (0, 0, made.conv.size - 1, 0))
    taps = [before[i : i + len(x)] * made.conv.weight[:, i] for i in range(made.conv.size)]
    q, k, v = F.silu(torch.stack(taps).sum(0)).split(made.sizes, dim=-1)
    write, forget = made.rates(x).chunk(2, dim=-1)
    decay = torch.exp(-made.log_forgetting.exp() * F.softplus(forget + made.step))
    width = made.head_dim
    states = torch.zeros(made.n_heads, width, width, dtype=x.dtype)
    rows: list[Tensor] = []
    for t in range(len(x)):
        heads: list[Tensor] = []
        for h in range(made.n_heads):
            pair = h // made.config.values_per_key
            query, key = (part[t].view(-1, width)[pair] for part in (q, k))
            query, key = (part / (part.square().sum() + 1e-6).sqrt() for part in (query, key))
            value, beta = v[t].view(-1, width)[h], write[t, h].sigmoid()
            kept = decay[t, h] * states[h]
            states[h] = kept + beta * torch.outer(key, value - key @ kept)
            heads.append(made.norm(query / width**0.5 @ states[h]))
        rows.append(made.out(torch.cat(heads) * F.silu(made.gate(x[t]))))
    return torch.stack(rows)


@pytest.mark.parametrize("values", [1, 2])
@pytest.mark.parametrize("seq", [5, 64, 131])
def test_the_chunked_form_equals_the_recurrence(values: int, seq: int) -> None:
    made, x = mixer(values_per_key=values), torch.randn(1, seq, 16, dtype=torch.float64)
    with torch.no_grad():
        tiny.assert_close(made(x, context(seq))[0], recurrence(made, x[0]))


@pytest.mark.parametrize("values", [1, 2])
def test_it_equals_qwen3_next(values: int) -> None:
    made = mixer(values_per_key=values)
    config = Qwen3NextConfig(
        hidden_size=16, linear_num_key_heads=2, linear_num_value_heads=2 * values,
        linear_key_head_dim=8, linear_value_head_dim=8, linear_conv_kernel_dim=4,
    )  # fmt: skip
    theirs = Qwen3NextGatedDeltaNet(config, 0).double()
    copied.gated_delta(made, theirs)
    with torch.no_grad():
        x = torch.randn(2, 70, 16, dtype=torch.float64)
        torch.testing.assert_close(made(x, context(70)), theirs(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cuts", [(70,), (1, 69), (63, 4, 3), (1,) * 70])
@torch.no_grad()
def test_decoding_in_parts_of_any_size_equals_one_pass(cuts: tuple[int, ...]) -> None:
    made = tiny.network(tiny.stack(mixer="gated_delta", position="none", n_layers=2))
    ids, cache = tiny.tokens(2, 70), KvCache(70)
    documents = torch.tensor([[1] * 70, [0] * 2 + [1] * 68])
    parts = zip(ids.split(cuts, 1), documents.split(cuts, 1), strict=True)
    found = torch.cat([made(Inputs(*part), cache=cache) for part in parts], 1)
    real = documents > 0
    tiny.assert_close(found[real], made(Inputs(ids, documents))[real])


@torch.no_grad()
def test_documents_that_share_a_row_are_read_apart() -> None:
    made = tiny.network(tiny.stack(mixer="gated_delta", position="none"))
    ids = tiny.tokens(1, 140)
    documents = torch.tensor([[1] * 3 + [2] * 90 + [3] * 1 + [4] * 41 + [0] * 5])
    found = made(Inputs(ids, documents))
    for start, end in ((0, 3), (3, 93), (93, 94), (94, 135)):
        tiny.assert_close(found[:, start:end], made(Inputs(ids[:, start:end])))


def test_it_is_causal_only() -> None:
    with pytest.raises(ValueError, match="causal only"):
        build(tiny.part("architecture/mixer", "gated_delta"), Parts(16, 2, causal=False))
