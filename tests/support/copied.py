"""Copies weights of our layers into the layers of transformers that compute the same."""

from typing import Any

import torch


@torch.no_grad()
def gated_delta(ours: Any, theirs: Any) -> None:
    """Into a Qwen3NextGatedDeltaNet, which interleaves its projections by key head."""
    n_keys, dim = ours.sizes[0] // ours.head_dim, ours.qkv.weight.shape[1]
    q, k, v = (part.view(n_keys, -1, dim) for part in ours.qkv.weight.split(ours.sizes))
    z = ours.gate.weight.view(n_keys, -1, dim)
    write, forget = (part.view(n_keys, -1, dim) for part in ours.rates.weight.chunk(2))
    theirs.in_proj_qkvz.weight.copy_(torch.cat((q, k, v, z), dim=1).flatten(0, 1))
    theirs.in_proj_ba.weight.copy_(torch.cat((write, forget), dim=1).flatten(0, 1))
    theirs.conv1d.weight.copy_(ours.conv.weight[:, None])
    theirs.A_log.copy_(ours.log_forgetting)
    theirs.dt_bias.copy_(ours.step)
    theirs.norm.weight.copy_(ours.norm.weight)
    theirs.out_proj.weight.copy_(ours.out.weight)


@torch.no_grad()
def gated_attention(ours: Any, theirs: Any) -> None:
    """Into a Qwen3NextAttention, whose norms store the difference from 1."""
    for name, projection in (("k", theirs.k_proj), ("v", theirs.v_proj), ("out", theirs.o_proj)):
        projection.load_state_dict(ours.get_submodule(name).state_dict())
    heads = (part.weight.unflatten(0, (-1, ours.head_dim)) for part in (ours.q, ours.gate))
    theirs.q_proj.weight.copy_(torch.cat(tuple(heads), dim=1).flatten(0, 1))
    theirs.q_norm.weight.copy_(ours.q_norm.weight - 1)
    theirs.k_norm.weight.copy_(ours.k_norm.weight - 1)


@torch.no_grad()
def latent_attention(ours: Any, theirs: Any) -> None:
    """Into a DeepseekV3Attention."""
    theirs.kv_a_proj_with_mqa.weight.copy_(ours.kv_down.weight)
    theirs.kv_a_layernorm.weight.copy_(ours.kv_norm.weight)
    theirs.kv_b_proj.weight.copy_(ours.kv_up.weight)
    theirs.o_proj.weight.copy_(ours.out.weight)
    if ours.config.q_rank is None:
        theirs.q_proj.weight.copy_(ours.q.weight)
    else:
        theirs.q_a_proj.weight.copy_(ours.q_down[0].weight)
        theirs.q_a_layernorm.weight.copy_(ours.q_down[1].weight)
        theirs.q_b_proj.weight.copy_(ours.q.weight)


@torch.no_grad()
def gated_mlp(ours: Any, theirs: Any, scale: float = 1.0) -> None:
    """Into an MLP with gate, up and down; theirs returns `scale` times as much."""
    theirs.gate_proj.weight.copy_(ours.gate.weight)
    theirs.up_proj.weight.copy_(ours.up.weight)
    theirs.down_proj.weight.copy_(scale * ours.down.weight)


@torch.no_grad()
def experts(ours: Any, theirs: Any) -> None:
    """Into a sparse MoE block, without its shared expert."""
    theirs.gate.weight.copy_(ours.router.weight)
    gate_up = [torch.cat((e.gate.weight, e.up.weight)) for e in ours.experts]
    theirs.experts.gate_up_proj.copy_(torch.stack(gate_up))
    theirs.experts.down_proj.copy_(torch.stack([e.down.weight for e in ours.experts]))
