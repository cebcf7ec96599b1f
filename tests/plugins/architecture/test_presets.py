"""Presets without a Hugging Face layout, against transformers' whole networks."""

from dataclasses import replace
from typing import Any

import copied
import parity
import tiny
import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from etude.network.inputs import Inputs

EAGER: dict[str, Any] = {"attn_implementation": "eager"}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


def ours_and_theirs(preset: str, kind: Any, fields: Any) -> tuple[Any, Any]:
    """Networks of 4 layers; embeddings, final norm and head of theirs are copies of ours."""
    config = replace(parity.preset(preset), dim=64)
    ours, theirs = tiny.network(config), kind(fields).double().eval()
    theirs.set_experts_implementation("eager")  # the only one that supports float64
    with torch.no_grad():
        theirs.model.embed_tokens.weight.copy_(ours.embedding.weight)
        theirs.lm_head.weight.copy_(ours.head.out.weight)
    return ours, theirs


def copy_norms(pairs: list[tuple[Any, Any]], offset: float) -> None:
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.weight.copy_(ours.weight - offset)


def norms(ours: Any, theirs: Any) -> list[tuple[Any, Any]]:
    pairs = [(ours.stack.norm, theirs.model.norm)]
    for block, layer in zip(ours.stack.blocks, theirs.model.layers, strict=True):
        pairs.append((block.mixer_norm, layer.input_layernorm))
        pairs.append((block.mlp_norm, layer.post_attention_layernorm))
    return pairs


def assert_same_logits(ours: Any, theirs: Any) -> None:
    ids = tiny.tokens(2, 9)
    with torch.no_grad():
        wanted = theirs(ids, use_cache=False).logits
        torch.testing.assert_close(ours(Inputs(ids)), wanted, rtol=1e-4, atol=1e-5)


def test_qwen3_next_has_the_logits_of_transformers() -> None:
    fields = Qwen3NextConfig(
        vocab_size=tiny.VOCAB.size, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, linear_num_key_heads=4, linear_num_value_heads=8,
        linear_key_head_dim=16, linear_value_head_dim=16, num_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=32, shared_expert_intermediate_size=32, norm_topk_prob=True,
        rope_parameters=ROPE | {"partial_rotary_factor": 0.25}, **EAGER,
    )  # fmt: skip
    ours, theirs = ours_and_theirs("qwen3_next", Qwen3NextForCausalLM, fields)
    copy_norms(norms(ours, theirs), offset=1.0)
    for block, layer in zip(ours.stack.blocks, theirs.model.layers, strict=True):
        if layer.block_type == "linear_attention":
            copied.gated_delta(block.mixer, layer.linear_attn)
        else:
            copied.gated_attention(block.mixer, layer.self_attn)
        copied.experts(block.mlp, layer.mlp)
        copied.gated_mlp(block.mlp.shared[0], layer.mlp.shared_expert, scale=2.0)
        torch.nn.init.zeros_(layer.mlp.shared_expert_gate.weight)  # halves the shared expert
    assert_same_logits(ours, theirs)


def test_deepseek_v3_has_the_logits_of_transformers() -> None:
    fields = DeepseekV3Config(
        vocab_size=tiny.VOCAB.size, hidden_size=64, intermediate_size=176, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, q_lora_rank=96, kv_lora_rank=64,
        qk_rope_head_dim=16, qk_nope_head_dim=16, v_head_dim=16, n_routed_experts=8,
        num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=32, n_group=1,
        topk_group=1, routed_scaling_factor=1.0, first_k_dense_replace=1, rope_interleave=False,
        rope_parameters=ROPE, **EAGER,
    )  # fmt: skip
    ours, theirs = ours_and_theirs("deepseek_v3", DeepseekV3ForCausalLM, fields)
    copy_norms(norms(ours, theirs), offset=0.0)
    for block, layer in zip(ours.stack.blocks, theirs.model.layers, strict=True):
        copied.latent_attention(block.mixer, layer.self_attn)
        if layer is theirs.model.layers[0]:
            copied.gated_mlp(block.mlp, layer.mlp)
        else:
            copied.experts(block.mlp, layer.mlp)
            copied.gated_mlp(block.mlp.shared[0], layer.mlp.shared_experts)
    assert_same_logits(ours, theirs)
