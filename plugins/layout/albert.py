"""ALBERT checkpoints in Hugging Face format.

Lan et al. 2019, https://arxiv.org/abs/1909.11942. The names are those of transformers'
`models/albert`: a narrow token table projected to the width of the network, and groups of layers
that share their weights.
Dropout is not read, as it is a training choice; poolers and sentence-pair heads are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import ConfigError, plugin
from etude.config import LayoutConfig, StackConfig
from etude.data import Vocab
from etude.formats import (
    GELU_NAMES,
    GELUS,
    AnyStack,
    Fields,
    Layout,
    TanhScore,
    WeightMapping,
    has_default_head_dim,
    has_parts,
    mappings,
    plugin_config,
    require_values,
    translate,
)

DEFAULTS = {
    "num_hidden_groups": 1,
    "embedding_size": 128,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}
REQUIRED = {
    "inner_group_num": 1,
    "tie_word_embeddings": True,
    "position_embedding_type": "absolute",
}
TABLES = {
    "albert.embeddings.word_embeddings": "embedding",
    "albert.embeddings.token_type_embeddings": "stack.segments",
    "albert.embeddings.position_embeddings": "stack.position.table",
}
MODULES = {
    "albert.embeddings.LayerNorm": "stack.embedding_norm",
    "albert.encoder.embedding_hidden_mapping_in": "stack.widen",
    "predictions.dense": "head.dense",
    "predictions.LayerNorm": "head.norm",
}
LAYER = {
    "attention.query": "mixer.q",
    "attention.key": "mixer.k",
    "attention.value": "mixer.v",
    "attention.dense": "mixer.out",
    "attention.LayerNorm": "mixer_norm",
    "ffn": "mlp.up",
    "ffn_output": "mlp.down",
    "full_layer_layer_norm": "mlp_norm",
}


@dataclass
class AlbertLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(AlbertLayoutConfig)
class AlbertLayout(Layout):
    """encoder_only like BERT, with a narrow token table and layers that share weights."""

    defaults = {"albert": DEFAULTS}
    dropped = (
        "albert.pooler", "pooler.weight", "pooler.bias", "sop_classifier", "position_ids",
        "decoder.weight", "decoder.bias", "classifier",
    )  # fmt: skip
    scores = {"albert": TanhScore("albert.pooler", "classifier")}

    def read(self, fields: Fields) -> StackConfig:
        require_values(fields, REQUIRED)
        n_layers = fields["num_hidden_layers"]
        n_groups = fields["num_hidden_groups"]
        if not _same_groups(n_layers, n_groups):
            raise ConfigError(
                f"num_hidden_groups={n_groups} with num_hidden_layers={n_layers}: transformers "
                "assigns layers to groups with a rounding error that étude does not reproduce."
            )
        dim = fields["hidden_size"]
        gelu = translate(fields, "hidden_act", GELUS)
        return plugin_config(
            "architecture/encoder_only",
            dim=dim,
            n_layers=n_layers,
            n_heads=fields["num_attention_heads"],
            n_groups=n_groups,
            embedding_dim=fields["embedding_size"],
            norm_embedding=True,
            n_segments=fields["type_vocab_size"],
            block=plugin_config("architecture/block/postnorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config(
                "architecture/mlp/gelu", ratio=fields["intermediate_size"] / dim, approximate=gelu
            ),
            norm=plugin_config("architecture/norm/layernorm", eps=fields["layer_norm_eps"]),
            position=plugin_config(
                "architecture/position/learned", max_positions=fields["max_position_embeddings"]
            ),
            head=plugin_config("architecture/head/transform", approximate=gelu),
            init=plugin_config("architecture/init/normal", std=fields["initializer_range"]),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "postnorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not has_parts(config, "encoder_only", **parts, position="learned", head="transform"):
            return None
        shared = config.n_groups is not None and _same_groups(config.n_layers, config.n_groups)
        if (
            not has_default_head_dim(config)
            or not shared
            or config.embedding_dim is None
            or config.n_segments == 0
        ):
            return None
        return {
            "model_type": "albert",
            "architectures": ["AlbertForMaskedLM"],
            "embedding_size": config.embedding_dim,
            "hidden_size": config.dim,
            "intermediate_size": config.mlp.hidden(config.dim),
            "num_hidden_layers": config.n_layers,
            "num_hidden_groups": config.n_groups,
            "num_attention_heads": config.n_heads,
            "max_position_embeddings": config.position.max_positions,
            "type_vocab_size": config.n_segments,
            "hidden_act": GELU_NAMES[config.mlp.approximate.value],
            "layer_norm_eps": config.norm.eps,
            "tie_word_embeddings": True,
            "initializer_range": vars(config.init).get("std", 0.02),
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": config.dropout,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        yield from mappings(TABLES, "weight")
        modules = dict(MODULES)
        for i in range(config.n_groups):
            layer = f"albert.encoder.albert_layer_groups.{i}.albert_layers.0"
            modules |= {f"{layer}.{k}": f"stack.blocks.{i}.{v}" for k, v in LAYER.items()}
        yield from mappings(modules, "weight", "bias")
        yield WeightMapping(
            "predictions.bias", ("head.out.bias",), aliases=("predictions.decoder.bias",)
        )


def _same_groups(n_layers: int, n_groups: int) -> bool:
    """Whether transformers, which uses floats, assigns every layer to the same group as étude."""
    floats = [int(i / (n_layers / n_groups)) for i in range(n_layers)]
    return floats == [i * n_groups // n_layers for i in range(n_layers)]
