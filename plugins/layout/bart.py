"""BART checkpoints in Hugging Face format; position tables start with two unused rows.

Lewis et al. 2019, https://arxiv.org/abs/1910.13461. The names are those of transformers'
`models/bart`.
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
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "max_position_embeddings": 1024,
    "scale_embedding": False,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
REQUIRED = {
    "activation_function": "gelu",
    "tie_word_embeddings": True,
    "normalize_before": False,
    "normalize_embedding": True,
    "add_final_layer_norm": False,
    "static_position_embeddings": False,
    "extra_pos_embeddings": 2,
}
OFFSET = 2
"""Unused rows at the start of the position table."""
MIXERS = {"self_attn": "mixer", "encoder_attn": "cross"}
ATTENTION = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "out"}
"""Module names: transformers' and ours."""


@dataclass
class BartLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(BartLayoutConfig)
class BartLayout(Layout):
    """encoder_decoder with postnorm, attention, gelu, layernorm, learned positions and biases."""

    defaults = {"bart": DEFAULTS}

    def read(self, fields: Fields) -> StackConfig:
        equal = {
            f"decoder_{name}": fields[f"encoder_{name}"]
            for name in ("layers", "ffn_dim", "attention_heads")
        }
        start = {"decoder_start_token_id": fields["eos_token_id"]}
        require_values(fields, {**REQUIRED, **equal, **start})
        dim = fields["d_model"]
        return plugin_config(
            "architecture/encoder_decoder",
            dim=dim,
            n_layers=fields["encoder_layers"],
            n_heads=fields["encoder_attention_heads"],
            start="eos",
            norm_embedding=True,
            scale_embedding=bool(fields["scale_embedding"]),
            block=plugin_config("architecture/block/postnorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config("architecture/mlp/gelu", ratio=fields["encoder_ffn_dim"] / dim),
            norm=plugin_config("architecture/norm/layernorm"),
            position=plugin_config(
                "architecture/position/learned", max_positions=fields["max_position_embeddings"]
            ),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "postnorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not has_parts(config, "encoder_decoder", **parts, position="learned", head="linear"):
            return None
        if not has_default_head_dim(config):
            return None
        both = {
            "layers": config.n_layers,
            "ffn_dim": config.mlp.hidden(config.dim),
            "attention_heads": config.n_heads,
        }
        return {
            "model_type": "bart",
            "architectures": ["BartForConditionalGeneration"],
            "is_encoder_decoder": True,
            "d_model": config.dim,
            **{f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in both.items()},
            "max_position_embeddings": config.position.max_positions,
            "activation_function": "gelu",
            "scale_embedding": config.scale_embedding,
            "tie_word_embeddings": True,
            "init_std": vars(config.init).get("std", 0.02),
            "dropout": config.dropout,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "decoder_start_token_id": vocab.eos,
            "forced_eos_token_id": None,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        sides = ("encoder", "decoder")
        copies = [f"model.{side}.embed_tokens.weight" for side in sides]
        yield WeightMapping(
            "model.shared.weight", ("embedding.weight",), aliases=(*copies, "lm_head.weight")
        )
        for side in sides:
            theirs = f"model.{side}"
            ours = f"{side}.position.table.weight"
            yield WeightMapping(f"{theirs}.embed_positions.weight", (ours,), offset=OFFSET)
            for kind in ("weight", "bias"):
                norm = f"{side}.embedding_norm.{kind}"
                yield WeightMapping(f"{theirs}.layernorm_embedding.{kind}", (norm,))
                for i in range(config.n_layers):
                    layer = f"{theirs}.layers.{i}"
                    block = f"{side}.blocks.{i}"
                    for name, our in self._modules(side):
                        yield WeightMapping(f"{layer}.{name}.{kind}", (f"{block}.{our}.{kind}",))

    def _modules(self, side: str) -> Iterator[tuple[str, str]]:
        """Yields module names within a layer: transformers' and ours."""
        for theirs, ours in list(MIXERS.items())[: 1 if side == "encoder" else 2]:
            for name, our in ATTENTION.items():
                yield f"{theirs}.{name}", f"{ours}.{our}"
            yield f"{theirs}_layer_norm", f"{ours}_norm"
        yield from (("fc1", "mlp.up"), ("fc2", "mlp.down"), ("final_layer_norm", "mlp_norm"))
