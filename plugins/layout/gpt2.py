"""GPT-2 checkpoints in Hugging Face format.

Radford et al. 2019, https://openai.com/index/better-language-models. The names are those of
transformers' `models/gpt2`: linear weights are [in, out]; queries, keys and values are fused.
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

DEFAULTS = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "n_inner": None,
    "n_positions": 1024,
}
REQUIRED = {
    "activation_function": "gelu_new",
    "add_cross_attention": False,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "tie_word_embeddings": True,
}


@dataclass
class Gpt2LayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(Gpt2LayoutConfig)
class Gpt2Layout(Layout):
    """decoder_only with prenorm, attention, gelu, layernorm, learned positions and biases."""

    defaults = {"gpt2": DEFAULTS}
    dropped = (".attn.bias", ".attn.masked_bias", "lm_head.weight")

    def read(self, fields: Fields) -> StackConfig:
        require_values(fields, REQUIRED)
        dim = fields["n_embd"]
        ratio = (fields["n_inner"] or 4 * dim) / dim
        return plugin_config(
            "architecture/decoder_only",
            dim=dim,
            n_layers=fields["n_layer"],
            n_heads=fields["n_head"],
            tie=True,
            block=plugin_config("architecture/block/prenorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config("architecture/mlp/gelu", ratio=ratio, approximate="tanh"),
            norm=plugin_config("architecture/norm/layernorm", eps=fields["layer_norm_epsilon"]),
            position=plugin_config(
                "architecture/position/learned", max_positions=fields["n_positions"]
            ),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not has_parts(config, "decoder_only", **parts, position="learned", head="linear"):
            return None
        if not has_default_head_dim(config):
            return None
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "n_embd": config.dim,
            "n_inner": config.mlp.hidden(config.dim),
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_positions": config.position.max_positions,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm.eps,
            "tie_word_embeddings": True,
            "initializer_range": vars(config.init).get("std", 0.02),
            "attn_pdrop": 0.0,
            "embd_pdrop": config.dropout,
            "resid_pdrop": config.dropout,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        yield WeightMapping("transformer.wte.weight", ("embedding.weight",))
        yield WeightMapping("transformer.wpe.weight", ("stack.position.table.weight",))
        for i in range(config.n_layers):
            theirs = f"transformer.h.{i}"
            ours = f"stack.blocks.{i}"
            for kind in ("weight", "bias"):
                matrix = kind == "weight"
                qkv = tuple(f"{ours}.mixer.{name}.{kind}" for name in ("q", "k", "v"))
                yield WeightMapping(f"{theirs}.attn.c_attn.{kind}", qkv, matrix)
                yield WeightMapping(
                    f"{theirs}.attn.c_proj.{kind}", (f"{ours}.mixer.out.{kind}",), matrix
                )
                yield WeightMapping(f"{theirs}.mlp.c_fc.{kind}", (f"{ours}.mlp.up.{kind}",), matrix)
                yield WeightMapping(
                    f"{theirs}.mlp.c_proj.{kind}", (f"{ours}.mlp.down.{kind}",), matrix
                )
                yield WeightMapping(f"{theirs}.ln_1.{kind}", (f"{ours}.mixer_norm.{kind}",))
                yield WeightMapping(f"{theirs}.ln_2.{kind}", (f"{ours}.mlp_norm.{kind}",))
        for kind in ("weight", "bias"):
            yield WeightMapping(f"transformer.ln_f.{kind}", (f"stack.norm.{kind}",))
