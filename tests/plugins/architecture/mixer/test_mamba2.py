"""Mamba-2 against its recurrence and against transformers' mixer."""

from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.parts import Parts

SIZES: dict[str, Any] = {"state_dim": 6, "head_dim": 8}


def mixer(**values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    made = build(tiny.part("architecture/mixer", "mamba2", **(SIZES | values)), Parts(16, 2))
    for parameter in (made.skip, made.norm_weight, made.conv.bias):
        torch.nn.init.normal_(parameter)
    return made.double()


def context(seq: int) -> Context:
    index = torch.arange(seq)[None]
    return Context(Position(), index, index, causal=True)


def recurrence(made: Any, x: Tensor) -> Tensor:
    """h_t = exp(d_t a) h_(t-1) + d_t B_t x_t', y_t = C_t h_t + D x_t, token by token."""
    gate, mixed, steps = made.project(x).split((made.sizes[0], sum(made.sizes), made.n_heads), -1)
    before = F.pad(mixed, (0, 0, made.conv.size - 1, 0))
    taps = [before[i : i + len(x)] * made.conv.weight[:, i] for i in range(made.conv.size)]
    mixed = F.silu(torch.stack(taps).sum(0) + made.conv.bias)
    values, write, read = mixed.split(made.sizes, dim=-1)
    steps = F.softplus(steps + made.step)
    bc_heads = made.config.bc_heads
    states = torch.zeros(made.n_heads, 6, 8, dtype=x.dtype)
    rows: list[Tensor] = []
    for t in range(len(x)):
        heads: list[Tensor] = []
        for h in range(made.n_heads):
            group = h * bc_heads // made.n_heads
            key, query = (part[t].view(bc_heads, 6)[group] for part in (write, read))
            value, step = values[t].view(-1, 8)[h], steps[t, h]
            decay = torch.exp(-step * made.log_rate[h].exp())
            states[h] = decay * states[h] + step * torch.outer(key, value)
            heads.append(query @ states[h] + made.skip[h] * value)
        gated = (torch.cat(heads) * F.silu(gate[t])).view(bc_heads, -1)
        normed = gated / (gated.square().mean(-1, keepdim=True) + made.config.eps).sqrt()
        rows.append(made.out(normed.flatten() * made.norm_weight))
    return torch.stack(rows)


@pytest.mark.parametrize("bc_heads", [1, 2])
@pytest.mark.parametrize("seq", [5, 64, 131])
@torch.no_grad()
def test_the_chunked_form_equals_the_recurrence(bc_heads: int, seq: int) -> None:
    made, x = mixer(bc_heads=bc_heads), torch.randn(1, seq, 16, dtype=torch.float64)
    tiny.assert_close(made(x, context(seq))[0], recurrence(made, x[0]))


@pytest.mark.parametrize("bc_heads", [1, 2])
@torch.no_grad()
def test_it_equals_the_mixer_of_transformers(bc_heads: int) -> None:
    made = mixer(bc_heads=bc_heads)
    config = Mamba2Config(
        hidden_size=16, num_heads=4, head_dim=8, state_size=6, expand=2, n_groups=bc_heads,
        conv_kernel=4, chunk_size=16, num_hidden_layers=1,
    )  # fmt: skip
    theirs: Any = Mamba2Mixer(config, 0).double().eval()
    theirs.in_proj.weight.copy_(made.project.weight)
    theirs.conv1d.weight.copy_(made.conv.weight[:, None])
    theirs.conv1d.bias.copy_(made.conv.bias)
    theirs.A_log.copy_(made.log_rate)
    theirs.dt_bias.copy_(made.step)
    theirs.D.copy_(made.skip)
    theirs.norm.weight.copy_(made.norm_weight)
    theirs.out_proj.weight.copy_(made.out.weight)
    x = torch.randn(2, 70, 16, dtype=torch.float64)
    torch.testing.assert_close(made(x, context(70)), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cuts", [(70,), (1, 69), (63, 4, 3), (1,) * 70])
@torch.no_grad()
def test_decoding_in_parts_of_any_size_equals_one_pass(cuts: tuple[int, ...]) -> None:
    made = tiny.network(tiny.stack(mixer="mamba2", position="none"))
    ids, cache = tiny.tokens(2, 70), KvCache(70)
    documents = torch.tensor([[1] * 70, [0] * 2 + [1] * 68])
    parts = zip(ids.split(cuts, 1), documents.split(cuts, 1), strict=True)
    found = torch.cat([made(Inputs(*part), cache=cache) for part in parts], 1)
    real = documents > 0
    tiny.assert_close(found[real], made(Inputs(ids, documents))[real])


@torch.no_grad()
def test_documents_that_share_a_row_have_states_of_their_own() -> None:
    made = tiny.network(tiny.stack(mixer="mamba2", position="none"))
    ids = tiny.tokens(1, 140)
    documents = torch.tensor([[1] * 3 + [2] * 90 + [3] * 1 + [4] * 41 + [0] * 5])
    found = made(Inputs(ids, documents))
    for start, end in ((0, 3), (3, 93), (93, 94), (94, 135)):
        tiny.assert_close(found[:, start:end], made(Inputs(ids[:, start:end])))


def test_in_bf16_the_state_is_fp32() -> None:
    made, given = mixer().bfloat16(), context(2)
    given.cache = KvCache(2)
    assert made(torch.randn(1, 2, 16).bfloat16(), given).dtype == torch.bfloat16
    assert given.cache.states[0, "state"].dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"state_dim": 0}, "state_dim must be at least 1, got 0"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"head_dim": 5}, "must be a multiple of head_dim=5 times bc_heads=1"),
        ({"bc_heads": 3}, "must be a multiple of head_dim=8 times bc_heads=3"),
    ],
)
def test_sizes_that_do_not_fit_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixer(**values)


def test_it_is_causal_only() -> None:
    with pytest.raises(ValueError, match="causal only"):
        build(tiny.part("architecture/mixer", "mamba2"), Parts(16, 2, causal=False))
