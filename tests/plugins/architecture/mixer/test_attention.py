import math
from dataclasses import replace
from typing import Any

import copied
import pytest
import tiny
import torch
from torch import Tensor
from transformers import GptOssConfig, Qwen3NextConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssAttention, GptOssRotaryEmbedding
from transformers.models.qwen3_next.modeling_qwen3_next import (
    Qwen3NextAttention,
    Qwen3NextRotaryEmbedding,
)

from etude.config.registry import build
from etude.network.context import Context, Position, attend
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.parts import Parts

PARTS = Parts(16, 4)
EAGER: dict[str, Any] = {"attn_implementation": "eager"}
"""Has transformers compute attention without a fused kernel."""


def context(seq: int, *, causal: bool, documents: Tensor | None = None) -> Context:
    return Context(
        Position(), torch.arange(seq)[None], torch.arange(seq)[None], causal, documents, documents
    )


def attention(queries_per_kv: int = 1, **values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    parts = values.pop("parts", PARTS)
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
    with pytest.raises(ValueError, match="queries_per_kv must divide n_heads=4, got 3"):
        attention(3)
    with pytest.raises(ValueError, match="queries_per_kv must be at least 1, got 0"):
        attention(0)


@pytest.mark.parametrize("kind", ["qkv_bias", "out_bias"])
def test_biases_are_in_the_configured_projections_only(kind: str) -> None:
    made = attention(**({"qkv_bias": False, "out_bias": False} | {kind: True}))
    found = {name for name, _ in made.named_parameters() if name.endswith("bias")}
    assert found == ({"out.bias"} if kind == "out_bias" else {"q.bias", "k.bias", "v.bias"})


def test_head_dim_may_differ_from_dim_over_n_heads() -> None:
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


def test_a_position_bias_is_added_to_the_visible_logits() -> None:
    class Nearer(Position):
        def bias(self, context: Context, dtype: torch.dtype) -> Tensor:
            positions = context.positions[0].to(dtype)
            return -(positions[:, None] - positions[None]).abs().expand(1, 4, -1, -1)

    q, k, v = (torch.randn(1, 4, 5, 4, dtype=torch.float64) for _ in range(3))
    given = context(5, causal=True)
    given.position = Nearer()
    scores = q @ k.transpose(-1, -2) / 2 + Nearer().bias(given, q.dtype)
    scores = scores.masked_fill(~torch.ones(5, 5).tril().bool(), -math.inf)
    torch.testing.assert_close(attend(q, k, v, given), scores.softmax(-1) @ v)


def dense(
    made: Any, x: Tensor, seen: Tensor, *, scale: float = 0.5, cap: float | None = None
) -> Any:
    """Attention by its definition, over the (query, key) pairs that `seen` allows."""
    q, k, v = (heads(linear(x)) for linear in (made.q, made.k, made.v))
    logits = q @ k.transpose(-1, -2) * scale
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    mixed = logits.masked_fill(~seen, -math.inf).softmax(-1) @ v
    return made.out(mixed.transpose(1, 2).flatten(2))


def distances() -> Tensor:
    """Query position minus key position, for 7 tokens."""
    positions = torch.arange(7)
    return positions[:, None] - positions[None]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [1, 3, 50])
def test_a_window_shows_keys_less_than_window_positions_away(causal: bool, window: int) -> None:
    made, x = attention(window=window), torch.randn(2, 7, 16, dtype=torch.float64)
    seen = (distances().abs() < window) & ((distances() >= 0) | (not causal))
    tiny.assert_close(made(x, context(7, causal=causal)), dense(made, x, seen))


def test_every_nth_layer_attends_globally() -> None:
    made, x = attention(window=2, global_layer_every=3), torch.randn(1, 7, 16, dtype=torch.float64)
    near, far = (dense(made, x, (distances() < n) & (distances() >= 0)) for n in (2, 7))
    given = context(7, causal=True)
    for layer in range(7):
        given.enter(layer)
        tiny.assert_close(made(x, given), far if layer % 3 == 0 else near)


@pytest.mark.parametrize("window", [None, 3])
def test_soft_capping_is_applied_before_the_softmax(window: int | None) -> None:
    made, x = attention(softcap=0.7, window=window), 9 * torch.randn(2, 7, 16).double()
    seen = (distances() >= 0) & (distances() < (window or 7))
    tiny.assert_close(made(x, context(7, causal=True)), dense(made, x, seen, cap=0.7))


def test_logits_can_be_left_unscaled() -> None:
    made, x = attention(scaled=False), torch.randn(2, 7, 16, dtype=torch.float64)
    tiny.assert_close(made(x, context(7, causal=True)), dense(made, x, distances() >= 0, scale=1.0))


@pytest.mark.parametrize("values", [{}, {"global_layer_every": 2}, {"softcap": 1.0}], ids=str)
@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
@pytest.mark.parametrize("cuts", [(9,), (4, 1, 1, 3)], ids=str)
@torch.no_grad()
def test_with_a_window_caching_and_padding_do_not_change_the_logits(
    values: dict[str, Any], position: str, cuts: tuple[int, ...]
) -> None:
    mixer = tiny.part("architecture/mixer", "attention", window=3, **values)
    made = tiny.network(tiny.stack(mixer=mixer, position=position, n_layers=3))
    ids, cache = tiny.tokens(2, 9), KvCache(9)
    documents = torch.tensor([[0] * 2 + [1] * 7, [1] * 9])
    parts = zip(ids.split(cuts, 1), documents.split(cuts, 1), strict=True)
    found = torch.cat([made(Inputs(*part), cache=cache) for part in parts], 1)
    tiny.assert_close(found[0, 2:], made(Inputs(ids[:1, 2:]))[0])
    tiny.assert_close(found[1], made(Inputs(ids[1:]))[0])
    padded_right = made(Inputs(ids, documents.flip(1)))
    tiny.assert_close(padded_right[0, :7], made(Inputs(ids[:1, :7]))[0])


@torch.no_grad()
def test_the_matmul_precision_is_restored_and_does_not_change_decoding() -> None:
    made, ids = tiny.network(), tiny.tokens(2, 5)
    found: list[torch.Tensor] = []
    for precision in ("highest", "medium"):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            cache = KvCache(5)
            made(Inputs(ids[:, :4]), cache=cache)
            found.append(made(Inputs(ids[:, 4:]), cache=cache))
            assert torch.get_float32_matmul_precision() == precision
        finally:
            torch.set_float32_matmul_precision(before)
    tiny.assert_close(*found)


def rotations(config: Any, rotary: Any, x: Tensor) -> Any:
    return rotary(config)(x, torch.arange(x.shape[1])[None])


def causal_mask(seq: int) -> Tensor:
    return torch.full((seq, seq), -torch.inf, dtype=torch.float64).triu(1)[None, None]


def copy_projections(made: Any, theirs: Any) -> None:
    for name in ("q", "k", "v", "out"):
        projection = theirs.get_submodule("o_proj" if name == "out" else f"{name}_proj")
        projection.load_state_dict(made.get_submodule(name).state_dict())


@torch.no_grad()
def test_with_sinks_it_equals_gpt_oss() -> None:
    made: Any = attention(2, sinks=True)
    torch.nn.init.normal_(made.sinks)
    config = GptOssConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, head_dim=4,
        attention_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        **EAGER,
    )  # fmt: skip
    theirs: Any = GptOssAttention(config, 0).double()
    copy_projections(made, theirs)
    theirs.sinks.copy_(made.sinks)
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    given = rotations(config, GptOssRotaryEmbedding, x)
    wanted, _ = theirs(x, given, causal_mask(6))
    rope = build(tiny.part("architecture/position", "rope"), PARTS)
    index = torch.arange(6)[None]
    found = made(x, Context(rope, index, index, causal=True))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # their rotations are in fp32


@torch.no_grad()
def test_with_a_gate_and_partial_rotation_it_equals_qwen3_next() -> None:
    parts = Parts(16, 4, key_dim=8)
    values: dict[str, Any] = {"qkv_bias": False, "out_bias": False, "head_dim": 8, "qk_norm": True}
    made: Any = attention(2, gate=True, parts=parts, **values)
    config = Qwen3NextConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
        **EAGER,
    )  # fmt: skip
    theirs: Any = Qwen3NextAttention(config, 0).double()
    for norm in (made.q_norm, made.k_norm):
        torch.nn.init.normal_(norm.weight)
    copied.gated_attention(made, theirs)
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    given = rotations(config, Qwen3NextRotaryEmbedding, x)
    wanted, _ = theirs(x, given, causal_mask(6))
    rope = build(tiny.part("architecture/position", "rope", rotary_fraction=0.25), parts)
    index = torch.arange(6)[None]
    found = made(x, Context(rope, index, index, causal=True))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # their norms are in fp32


@pytest.mark.parametrize("window", [None, 3])
def test_values_of_the_first_layer_are_mixed_into_each_layer(window: int | None) -> None:
    mixer = tiny.part("architecture/mixer", "attention", value_residual=True, window=window)
    made, x = tiny.network(tiny.stack(mixer=mixer, n_layers=2)), []
    for block in made.stack.blocks:
        block.mixer.v.register_forward_hook(lambda module, args, out: x.append(out))
    ids = tiny.tokens(2, 5)
    found = made(Inputs(ids))
    own, first = (
        tiny.network(tiny.stack(n_layers=2, mixer=replace(mixer, value_residual=False))),
        x[0],
    )
    own.load_state_dict({k: v for k, v in made.state_dict().items() if "value_mix" not in k})
    for block, theirs in zip(own.stack.blocks, made.stack.blocks, strict=True):
        a, b = theirs.mixer.value_mix
        block.mixer.v.register_forward_hook(lambda module, args, out, a=a, b=b: a * first + b * out)
    tiny.assert_close(found, own(Inputs(ids)))


@pytest.mark.parametrize("family", ["decoder_only", "encoder_decoder"])
@torch.no_grad()
def test_with_every_option_decoding_equals_one_pass(family: str) -> None:
    options = {"gate": True, "sinks": True, "value_residual": True, "window": 4}
    mixer = tiny.part("architecture/mixer", "attention", global_layer_every=2, **options)
    made = tiny.network(tiny.stack(family, mixer=mixer, position="rope", n_layers=3))
    ids, cache = tiny.tokens(2, 8), KvCache(8)
    given = tiny.inputs(made, ids)
    parts = [made(Inputs(p, None, given.source), cache=cache) for p in ids.split((3, 1, 4), 1)]
    tiny.assert_close(torch.cat(parts, 1), made(given))
