"""BLOOM checkpoints in Hugging Face format; q, k and v are fused, interleaved by head.

BigScience 2022, https://arxiv.org/abs/2211.05100. The names are those of transformers'
`models/bloom`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import plugin
from etude.config import LayoutConfig, StackConfig
from etude.data import Vocab
from etude.formats import (
    AnyStack,
    Fields,
    Layout,
    WeightMapping,
    has_default_head_dim,
    has_parts,
    plugin_config,
    require_values,
)

DEFAULTS = {"layer_norm_epsilon": 1e-5}
REQUIRED = {
    "apply_residual_connection_post_layernorm": False,
    "tie_word_embeddings": True,
    "n_inner": None,
}
RATIO = 4
"""Hidden width as a multiple of dim; the format has no field for it."""
MODULES = {
    "input_layernorm": "mixer_norm",
    "self_attention.dense": "mixer.out",
    "post_attention_layernorm": "mlp_norm",
    "mlp.dense_h_to_4h": "mlp.up",
    "mlp.dense_4h_to_h": "mlp.down",
}
"""Module names within a layer: transformers' and ours."""


@dataclass
class BloomLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(BloomLayoutConfig)
class BloomLayout(Layout):
    """decoder_only with prenorm, attention, tanh gelu, layernorm, alibi and biases."""

    defaults = {"bloom": DEFAULTS}
    dropped = ("lm_head.weight",)

    def read(self, fields: Fields) -> StackConfig:
        require_values(fields, REQUIRED)
        return plugin_config(
            "architecture/decoder_only",
            dim=fields["n_embed" if "n_embed" in fields else "hidden_size"],
            n_layers=fields["n_layer"],
            n_heads=fields["num_attention_heads" if "num_attention_heads" in fields else "n_head"],
            norm_embedding=True,
            block=plugin_config("architecture/block/prenorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config("architecture/mlp/gelu", ratio=float(RATIO), approximate="tanh"),
            norm=plugin_config("architecture/norm/layernorm", eps=fields["layer_norm_epsilon"]),
            position=plugin_config("architecture/position/alibi"),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not has_parts(config, "decoder_only", **parts, position="alibi", head="linear"):
            return None
        if not has_default_head_dim(config):
            return None
        if config.mlp.hidden(config.dim) != RATIO * config.dim:
            return None
        return {
            "model_type": "bloom",
            "architectures": ["BloomForCausalLM"],
            "hidden_size": config.dim,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "layer_norm_epsilon": config.norm.eps,
            "apply_residual_connection_post_layernorm": False,
            "tie_word_embeddings": True,
            "initializer_range": vars(config.init).get("std", 0.02),
            "hidden_dropout": config.dropout,
            "attention_dropout": 0.0,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        yield WeightMapping("transformer.word_embeddings.weight", ("embedding.weight",))
        for kind in ("weight", "bias"):
            norm = f"transformer.word_embeddings_layernorm.{kind}"
            yield WeightMapping(norm, (f"stack.embedding_norm.{kind}",))
            for i in range(config.n_layers):
                theirs = f"transformer.h.{i}"
                ours = f"stack.blocks.{i}"
                qkv = tuple(f"{ours}.mixer.{name}.{kind}" for name in ("q", "k", "v"))
                fused = f"{theirs}.self_attention.query_key_value.{kind}"
                yield WeightMapping(fused, qkv, groups=config.n_heads)
                for name, our in MODULES.items():
                    yield WeightMapping(f"{theirs}.{name}.{kind}", (f"{ours}.{our}.{kind}",))
            yield WeightMapping(f"transformer.ln_f.{kind}", (f"stack.norm.{kind}",))
