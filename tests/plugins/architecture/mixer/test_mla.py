from typing import Any

import copied
import pytest
import tiny
import torch
from torch import nn
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)

from etude.config.registry import build
from etude.network.context import Context
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.parts import Parts

EAGER: dict[str, Any] = {"attn_implementation": "eager"}
KNOBS: dict[str, Any] = {"kv_rank": 6, "rope_dim": 4, "head_dim": 5}


def part(**values: Any) -> Any:  # the plugin's own class
    return tiny.part("architecture/mixer", "mla", **(KNOBS | values))


@pytest.mark.parametrize("q_rank", [None, 7])
@torch.no_grad()
def test_it_equals_deepseek_v3(q_rank: int | None) -> None:
    torch.manual_seed(0)
    made = build(part(q_rank=q_rank), Parts(16, 4, key_dim=4)).double()
    config = DeepseekV3Config(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=q_rank,
        kv_lora_rank=6, qk_rope_head_dim=4, qk_nope_head_dim=5, v_head_dim=5,
        rope_interleave=False, **EAGER,
    )  # fmt: skip
    theirs: Any = DeepseekV3Attention(config, 0).double()
    for norm in (made.kv_norm, *(made.q_down[1:] if q_rank else ())):
        nn.init.normal_(norm.weight)
    copied.latent_attention(made, theirs)
    x, index = torch.randn(2, 7, 16, dtype=torch.float64), torch.arange(7)[None]
    rope = build(tiny.part("architecture/position", "rope"), Parts(16, 4, key_dim=4))
    mask = torch.full((7, 7), -torch.inf, dtype=torch.float64).triu(1)[None, None]
    wanted, _ = theirs(x, DeepseekV3RotaryEmbedding(config)(x, index), mask)
    found = made(x, Context(rope, index, index, causal=True))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)  # their norms are in fp32


@pytest.mark.parametrize("family", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
@torch.no_grad()
def test_decoding_from_latent_vectors_equals_one_pass(family: str, position: str) -> None:
    made = tiny.network(tiny.stack(family, mixer=part(q_rank=7), position=position, n_layers=3))
    ids, cache = tiny.tokens(2, 8), KvCache(8)
    documents = torch.tensor([[1] * 8, [0] * 2 + [1] * 6])
    given = tiny.inputs(made, ids)
    whole = made(Inputs(ids, documents, given.source))
    parts = zip(ids.split((3, 1, 4), 1), documents.split((3, 1, 4), 1), strict=True)
    found = torch.cat([made(Inputs(*part, given.source), cache=cache) for part in parts], 1)
    tiny.assert_close(found[documents > 0], whole[documents > 0])


@torch.no_grad()
def test_the_cache_has_one_latent_vector_and_one_key_per_token() -> None:
    made, cache = tiny.network(tiny.stack(mixer=part(), position="rope")), KvCache(9)
    made(Inputs(tiny.tokens(2, 5)), cache=cache)
    shapes = {layer: tuple(x.shape) for layer, x in cache._tokens.items()}  # pyright: ignore[reportPrivateUsage]
    assert shapes == dict.fromkeys(range(2), (2, 9, 6 + 4))
    cache.select_rows(torch.tensor([1]))
    assert made(Inputs(tiny.tokens(1, 1)), cache=cache).shape == (1, 1, tiny.VOCAB.size)


class Doubled(nn.Module):
    """A projection as an adapter changes it, without a weight of its own."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.base(x)


@torch.no_grad()
def test_decoding_uses_the_adapter_of_the_up_projection() -> None:
    made = tiny.network(tiny.stack(mixer=part(), position="rope"))
    for block in made.stack.blocks:
        block.mixer.kv_up = Doubled(block.mixer.kv_up)
    ids, cache = tiny.tokens(2, 6), KvCache(6)
    found = torch.cat([made(Inputs(part), cache=cache) for part in ids.split(2, 1)], 1)
    tiny.assert_close(found, made(Inputs(ids)))


@pytest.mark.parametrize("name", ["kv_rank", "q_rank", "rope_dim", "head_dim"])
def test_values_out_of_range_are_errors(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        part(**{name: 0})
    with pytest.raises(ValueError, match=r"eps must be positive, got 0\.0"):
        part(eps=0.0)
