"""ModernBERT checkpoints in Hugging Face format.

Warner et al. 2024, https://arxiv.org/abs/2412.13663. The names are those of transformers'
`models/modernbert`; layers with an attention window alternate with global layers, and a
window of `local_attention` tokens extends by half of that to each side. Dropout is not read.
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
    WeightMapping,
    has_default_head_dim,
    has_parts,
    plugin_config,
    require_values,
    translate,
)

REQUIRED = {"decoder_bias": True, "tie_word_embeddings": True, "rope_scaling": None}
PARTS = {
    "block": "prenorm", "mixer": "attention", "mlp": "geglu", "norm": "layernorm",
    "position": "rope", "head": "transform",
}  # fmt: skip
GLOBAL = "full_attention"
LOCAL = "sliding_attention"
MAX_POSITIONS, WINDOW = 8192, 128
"""Also written if a network has no such limit: the Hugging Face config requires numbers."""
DEFAULTS = {
    "max_position_embeddings": MAX_POSITIONS, "local_attention": WINDOW,
    "global_attn_every_n_layers": 3, "layer_types": None,
    "hidden_activation": "gelu", "classifier_activation": "gelu",
    "attention_bias": False, "mlp_bias": False, "norm_bias": False, "classifier_bias": False,
    "norm_eps": 1e-5, "rope_parameters": None, "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0, "initializer_range": 0.02,
}  # fmt: skip


@dataclass
class ModernbertLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(ModernbertLayoutConfig)
class ModernbertLayout(Layout):
    """encoder_only with prenorm, local attention, geglu, layernorm, rope, transform."""

    defaults = {"modernbert": DEFAULTS}
    dropped = ("decoder.weight", "inv_freq")

    def read(self, fields: Fields) -> StackConfig:
        require_values(fields, REQUIRED)
        dim = fields["hidden_size"]
        theta = _theta(fields, GLOBAL)
        local_theta = _theta(fields, LOCAL)
        return plugin_config(
            "architecture/encoder_only",
            dim=dim,
            n_layers=fields["num_hidden_layers"],
            n_heads=fields["num_attention_heads"],
            norm_embedding=True,
            block=plugin_config("architecture/block/prenorm", skip_first=True),
            mixer=_mixer(fields),
            mlp=plugin_config(
                "architecture/mlp/geglu",
                ratio=fields["intermediate_size"] / dim,
                multiple_of=1,
                bias=bool(fields["mlp_bias"]),
                approximate=translate(fields, "hidden_activation", GELUS),
            ),
            norm=plugin_config(
                "architecture/norm/layernorm",
                eps=fields["norm_eps"],
                bias=bool(fields["norm_bias"]),
            ),
            position=plugin_config(
                "architecture/position/rope",
                theta=theta,
                local_theta=None if local_theta == theta else local_theta,
                max_positions=fields["max_position_embeddings"],
            ),
            head=plugin_config(
                "architecture/head/transform",
                bias=bool(fields["classifier_bias"]),
                approximate=translate(fields, "classifier_activation", GELUS),
            ),
            init=plugin_config("architecture/init/scaled", std=fields["initializer_range"]),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        if not has_parts(config, "encoder_only", **PARTS):
            return None
        mixer = config.mixer
        position = config.position
        if not has_default_head_dim(config) or mixer.window == 1:
            return None
        every = 1 if mixer.window is None else mixer.global_layer_every
        return {
            "model_type": "modernbert",
            "architectures": ["ModernBertForMaskedLM"],
            "hidden_size": config.dim,
            "intermediate_size": config.mlp.hidden(config.dim),
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "hidden_activation": GELU_NAMES[config.mlp.approximate.value],
            "classifier_activation": GELU_NAMES[config.head.approximate.value],
            "classifier_bias": config.head.bias,
            "attention_bias": mixer.qkv_bias,
            "mlp_bias": config.mlp.bias,
            "norm_bias": config.norm.bias,
            "norm_eps": config.norm.eps,
            "local_attention": 2 * (mixer.window - 1) if mixer.window else WINDOW,
            "global_attn_every_n_layers": every,
            "layer_types": _kinds(config.n_layers, every),
            "global_rope_theta": position.theta,
            "local_rope_theta": position.local_theta or position.theta,
            "max_position_embeddings": position.max_positions or MAX_POSITIONS,
            "initializer_range": vars(config.init).get("std", 0.02),
            "embedding_dropout": config.dropout,
            "cls_token_id": vocab.cls,
            "sep_token_id": vocab.sep,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        embeddings = "model.embeddings"
        yield WeightMapping(f"{embeddings}.tok_embeddings.weight", ("embedding.weight",))
        yield from _norm(config, f"{embeddings}.norm", "stack.embedding_norm")
        for i in range(config.n_layers):
            layer = f"model.layers.{i}"
            block = f"stack.blocks.{i}"
            if i > 0:
                yield from _norm(config, f"{layer}.attn_norm", f"{block}.mixer_norm")
            yield from _norm(config, f"{layer}.mlp_norm", f"{block}.mlp_norm")
            mixer = config.mixer.qkv_bias
            mlp = config.mlp.bias
            yield from _map(f"{layer}.attn.Wqkv", f"{block}.mixer", ("q", "k", "v"), mixer)
            yield from _map(f"{layer}.attn.Wo", f"{block}.mixer", ("out",), mixer)
            yield from _map(f"{layer}.mlp.Wi", f"{block}.mlp", ("gate", "up"), mlp)
            yield from _map(f"{layer}.mlp.Wo", f"{block}.mlp", ("down",), mlp)
        yield from _norm(config, "model.final_norm", "stack.norm")
        yield from _map("head.dense", "head", ("dense",), config.head.bias)
        yield from _norm(config, "head.norm", "head.norm")
        yield WeightMapping("decoder.bias", ("head.out.bias",))


def _mixer(fields: Fields) -> Any:  # the config of attention
    every = _global_every(fields)
    biases = bool(fields["attention_bias"])
    window = None if every == 1 else fields["local_attention"] // 2 + 1
    return plugin_config(
        "architecture/mixer/attention",
        qkv_bias=biases,
        out_bias=biases,
        window=window,
        global_layer_every=None if window is None else every,
    )


def _map(theirs: str, ours: str, names: tuple[str, ...], bias: bool) -> Iterator[WeightMapping]:
    for kind in ("weight", "bias") if bias else ("weight",):
        yield WeightMapping(f"{theirs}.{kind}", tuple(f"{ours}.{name}.{kind}" for name in names))


def _norm(config: AnyStack, theirs: str, ours: str) -> Iterator[WeightMapping]:
    for kind in ("weight", "bias") if config.norm.bias else ("weight",):
        yield WeightMapping(f"{theirs}.{kind}", (f"{ours}.{kind}",))


def _kinds(n_layers: int, every: int | None) -> list[str]:
    """The attention type of each layer; none is global if `every` is None."""
    return [GLOBAL if every and i % every == 0 else LOCAL for i in range(n_layers)]


def _global_every(fields: Fields) -> int | None:
    """Period of global layers, starting with the first layer: 1 = all, None = none."""
    n_layers = fields["num_hidden_layers"]
    declared = fields["global_attn_every_n_layers"]
    kinds = fields["layer_types"] or _kinds(n_layers, declared)
    for every in (declared, *range(1, n_layers + 1), None):
        if _kinds(n_layers, every) == kinds:
            return every
    raise ConfigError(f"layer_types={kinds}: étude makes every n-th layer global, from the first.")


def _theta(fields: Fields, kind: str) -> float:
    """The RoPE base of a type of layer."""
    rope = (fields["rope_parameters"] or {}).get(kind) or {}
    require_values({"model_type": "modernbert", **rope}, {"rope_type": "default"})
    old = {GLOBAL: "global_rope_theta", LOCAL: "local_rope_theta"}[kind]
    return float(rope.get("rope_theta", fields[old] or DEFAULTS[old]))
