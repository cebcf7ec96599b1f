"""Mixtral checkpoints in Hugging Face format: LLaMA with mixture-of-experts MLPs.

Jiang et al. 2024, https://arxiv.org/abs/2401.04088. The names are those of the published files,
which transformers' `models/mixtral` converts to and from its own. Balancing losses are a
training choice and are not saved; a selection bias cannot be expressed in this format.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from etude import plugin
from etude.config import LayoutConfig, StackConfig
from etude.data import Vocab
from etude.formats import (
    AnyStack,
    Fields,
    Layout,
    WeightMapping,
    has_parts,
    mappings,
    plugin_config,
    require_values,
)

DEFAULTS = {
    "num_key_value_heads": 8,
    "head_dim": None,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "rope_parameters": None,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
}
REQUIRED = {
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "router_jitter_noise": 0.0,
    "rope_type": "default",
    "rope_scaling": None,
}
DEFAULT_MAX_POSITIONS = 4096
"""Written if positions are unlimited: the Hugging Face config requires a number."""
MODULES = {
    "input_layernorm": "mixer_norm",
    "self_attn.q_proj": "mixer.q",
    "self_attn.k_proj": "mixer.k",
    "self_attn.v_proj": "mixer.v",
    "self_attn.o_proj": "mixer.out",
    "post_attention_layernorm": "mlp_norm",
    "block_sparse_moe.gate": "mlp.router",
}
"""Module names within a layer: transformers' and ours."""
EXPERT = {"w1": "gate", "w3": "up", "w2": "down"}


@dataclass
class MixtralLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(MixtralLayoutConfig)
class MixtralLayout(Layout):
    """decoder_only with prenorm, attention, moe, rmsnorm and rope."""

    defaults = {"mixtral": DEFAULTS}
    dropped = ("rotary_emb.inv_freq", "lm_head.weight")

    def read(self, fields: Fields) -> StackConfig:
        rope = fields["rope_parameters"] or {}
        require_values({**fields, **rope}, REQUIRED)
        dim = fields["hidden_size"]
        heads = fields["num_attention_heads"]
        head_dim = fields["head_dim"]
        return plugin_config(
            "architecture/decoder_only",
            dim=dim,
            n_layers=fields["num_hidden_layers"],
            n_heads=heads,
            tie=bool(fields["tie_word_embeddings"]),
            block=plugin_config("architecture/block/prenorm"),
            mixer=plugin_config(
                "architecture/mixer/attention",
                queries_per_kv=heads // (fields["num_key_value_heads"] or heads),
                head_dim=None if head_dim in (None, dim // heads) else head_dim,
                window=fields["sliding_window"],
            ),
            mlp=plugin_config(
                "architecture/mlp/moe",
                n_experts=fields["num_local_experts"],
                top_k=fields["num_experts_per_tok"],
                ratio=fields["intermediate_size"] / dim,
                multiple_of=1,
                bias_rate=0.0,
            ),
            norm=plugin_config("architecture/norm/rmsnorm", eps=fields["rms_norm_eps"]),
            position=plugin_config(
                "architecture/position/rope",
                theta=float(rope.get("rope_theta", fields["rope_theta"])),
                max_positions=fields["max_position_embeddings"],
            ),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "mlp": "moe", "norm": "rmsnorm"}
        if not has_parts(config, "decoder_only", **parts, position="rope", head="linear"):
            return None
        mixer = config.mixer
        mlp = config.mlp
        return {
            "model_type": "mixtral",
            "architectures": ["MixtralForCausalLM"],
            "hidden_size": config.dim,
            "intermediate_size": mlp.hidden(config.dim),
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_heads // mixer.queries_per_kv,
            "head_dim": mixer.key_dim or config.dim // config.n_heads,
            "num_local_experts": mlp.n_experts,
            "num_experts_per_tok": mlp.top_k,
            "sliding_window": mixer.window,
            "hidden_act": "silu",
            "rms_norm_eps": config.norm.eps,
            "rope_theta": config.position.theta,
            "max_position_embeddings": config.position.max_positions or DEFAULT_MAX_POSITIONS,
            "tie_word_embeddings": config.tie,
            "initializer_range": vars(config.init).get("std", 0.02),
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        yield WeightMapping("model.embed_tokens.weight", ("embedding.weight",))
        experts = {
            f"block_sparse_moe.experts.{e}.{name}": f"mlp.experts.{e}.{our}"
            for e in range(config.mlp.n_experts)
            for name, our in EXPERT.items()
        }
        for i in range(config.n_layers):
            layer = f"model.layers.{i}"
            block = f"stack.blocks.{i}"
            modules = {f"{layer}.{k}": f"{block}.{v}" for k, v in (MODULES | experts).items()}
            for one in mappings(modules, "weight"):
                yield replace(one, stacked=".experts." in one.theirs)
        yield WeightMapping("model.norm.weight", ("stack.norm.weight",))
        if not config.tie:
            yield WeightMapping("lm_head.weight", ("head.out.weight",))
