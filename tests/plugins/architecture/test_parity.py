"""Logits of GPT-2, LLaMA and BERT are those of transformers, weights copied by hand."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from etude.inputs import Inputs
from etude.network import Network

SHAPES = [(16, 2, 4), (24, 1, 2)]
"""dim, layers, heads."""
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


class InDouble:
    """`torch`, with nothing narrower than float64: what a model casts to inside."""

    float32 = float = torch.float64

    def __getattr__(self, name: str) -> Any:  # whatever torch has
        return getattr(torch, name)


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Neutralises the inner float32 casts of a transformers module."""

    def neutralise(module: ModuleType) -> None:
        monkeypatch.setattr(module, "torch", InDouble())
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    return neutralise


def copy(ours: nn.Module, weight: Tensor, bias: Tensor | None = None) -> None:
    assert isinstance(ours.weight, Tensor)
    with torch.no_grad():
        ours.weight.copy_(weight)
        if bias is not None:
            assert isinstance(ours.bias, Tensor)
            ours.bias.copy_(bias)


def scrambled(theirs: Any) -> Any:  # transformers' models are dynamically typed
    """The reference in float64, with no weight at its first value."""
    torch.manual_seed(1)
    theirs.double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) + (parameter.ndim == 1) * 0.5)
    return theirs


def assert_same_logits(ours: Network, theirs: Any) -> None:  # a transformers model
    ids, documents = tiny.tokens(2, 9), torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
    with torch.no_grad():
        found = ours(Inputs(ids, documents))
        wanted = theirs(input_ids=ids, attention_mask=documents).logits
    real = documents > 0
    tiny.exactly(found[real], wanted[real])


@shapes
def test_gpt2(shape: tuple[int, int, int]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    dim, layers, heads = shape
    theirs = scrambled(
        GPT2LMHeadModel(
            GPT2Config(
                vocab_size=tiny.VOCAB.size, n_embd=dim, n_layer=layers, n_head=heads, n_positions=32
            )
        )
    )
    approximate = type(tiny.part("architecture/mlp", "gelu").approximate).tanh
    ours: Any = tiny.network(
        tiny.stack(
            dim=dim,
            n_layers=layers,
            n_heads=heads,
            mixer=tiny.part("architecture/mixer", "attention", qkv_bias=True, out_bias=True),
            mlp=tiny.part("architecture/mlp", "gelu", approximate=approximate),
            position=tiny.part("architecture/position", "learned", max_positions=32),
        )
    )
    body = theirs.transformer
    copy(ours.embedding, body.wte.weight)
    copy(ours.stack.position.table, body.wpe.weight)
    for block, theirs_block in zip(ours.stack.blocks, body.h, strict=True):
        copy(block.mixer_norm, theirs_block.ln_1.weight, theirs_block.ln_1.bias)
        copy(block.mlp_norm, theirs_block.ln_2.weight, theirs_block.ln_2.bias)
        joined = theirs_block.attn.c_attn
        for linear, weight, bias in zip(
            (block.mixer.q, block.mixer.k, block.mixer.v),
            joined.weight.split(dim, 1),
            joined.bias.split(dim),
            strict=True,
        ):
            copy(linear, weight.T, bias)
        for linear, conv in (
            (block.mixer.out, theirs_block.attn.c_proj),
            (block.mlp.up, theirs_block.mlp.c_fc),
            (block.mlp.down, theirs_block.mlp.c_proj),
        ):
            copy(linear, conv.weight.T, conv.bias)
    copy(ours.stack.norm, body.ln_f.weight, body.ln_f.bias)
    assert_same_logits(ours, theirs)


@shapes
def test_llama(shape: tuple[int, int, int], in_double: Callable[[ModuleType], None]) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama import modeling_llama

    in_double(modeling_llama)
    dim, layers, heads = shape
    theirs = scrambled(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=tiny.VOCAB.size,
                hidden_size=dim,
                intermediate_size=3 * dim,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=heads // 2,
                max_position_embeddings=32,
                tie_word_embeddings=True,
            )
        )
    )
    ours: Any = tiny.network(
        tiny.stack(
            dim=dim,
            n_layers=layers,
            n_heads=heads,
            mixer=tiny.part("architecture/mixer", "attention", queries_per_kv=2),
            mlp=tiny.part("architecture/mlp", "swiglu", ratio=3.0, multiple_of=1),
            norm="rmsnorm",
            position="rope",
        )
    )
    body = theirs.model
    copy(ours.embedding, body.embed_tokens.weight)
    for block, theirs_block in zip(ours.stack.blocks, body.layers, strict=True):
        attention, mlp = theirs_block.self_attn, theirs_block.mlp
        for mine, other in (
            (block.mixer_norm, theirs_block.input_layernorm),
            (block.mlp_norm, theirs_block.post_attention_layernorm),
            (block.mixer.q, attention.q_proj),
            (block.mixer.k, attention.k_proj),
            (block.mixer.v, attention.v_proj),
            (block.mixer.out, attention.o_proj),
            (block.mlp.gate, mlp.gate_proj),
            (block.mlp.up, mlp.up_proj),
            (block.mlp.down, mlp.down_proj),
        ):
            copy(mine, other.weight)
    copy(ours.stack.norm, body.norm.weight)
    assert_same_logits(ours, theirs)


@shapes
def test_bert_without_what_ours_leaves_out(shape: tuple[int, int, int]) -> None:
    """Segment embeddings set to zero, no norm on the embeddings, and a plain linear head."""
    from transformers import BertConfig, BertModel

    dim, layers, heads = shape
    theirs: Any = scrambled(
        BertModel(
            BertConfig(
                vocab_size=tiny.VOCAB.size,
                hidden_size=dim,
                intermediate_size=4 * dim,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                max_position_embeddings=32,
            ),
            add_pooling_layer=False,
        )
    )
    norm = tiny.part("architecture/norm", "layernorm", eps=1e-12)
    ours: Any = tiny.network(
        tiny.stack(
            "encoder_only",
            dim=dim,
            n_layers=layers,
            n_heads=heads,
            block="postnorm",
            norm=norm,
            mixer=tiny.part("architecture/mixer", "attention", qkv_bias=True, out_bias=True),
            position=tiny.part("architecture/position", "learned", max_positions=32),
        )
    )
    with torch.no_grad():
        theirs.embeddings.token_type_embeddings.weight.zero_()
    theirs.embeddings.LayerNorm = nn.Identity()
    copy(ours.embedding, theirs.embeddings.word_embeddings.weight)
    copy(ours.stack.position.table, theirs.embeddings.position_embeddings.weight)
    for block, layer in zip(ours.stack.blocks, theirs.encoder.layer, strict=True):
        seen, after = layer.attention.self, layer.attention.output
        for mine, other in (
            (block.mixer.q, seen.query),
            (block.mixer.k, seen.key),
            (block.mixer.v, seen.value),
            (block.mixer.out, after.dense),
            (block.mixer_norm, after.LayerNorm),
            (block.mlp.up, layer.intermediate.dense),
            (block.mlp.down, layer.output.dense),
            (block.mlp_norm, layer.output.LayerNorm),
        ):
            copy(mine, other.weight, other.bias)
    ids, documents = tiny.tokens(2, 9), torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
    with torch.no_grad():
        found = ours.states(Inputs(ids, documents))
        wanted = theirs(input_ids=ids, attention_mask=documents).last_hidden_state
    tiny.exactly(found[documents > 0], wanted[documents > 0])
