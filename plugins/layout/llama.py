"""LLaMA and the models that share its format: SmolLM2, Qwen2, Qwen3.

Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Qwen team 2024,
https://arxiv.org/abs/2407.10671, and 2025, https://arxiv.org/abs/2505.09388. The names are those
of transformers' `models/llama`, `models/qwen2` and `models/qwen3`; Qwen2 has biases on queries,
keys and values, Qwen3 normalises queries and keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import plugin
from etude.config import LayoutConfig, StackConfig, plugin_of
from etude.data import Vocab
from etude.formats import (
    AnyStack,
    Fields,
    Layout,
    WeightMapping,
    has_parts,
    plugin_config,
    require_values,
    translate,
)

LLAMA = {
    "num_key_value_heads": None, "head_dim": None, "attention_bias": False, "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0, "rope_scaling": None, "rope_parameters": None,
    "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip
QWEN2 = LLAMA | {"num_key_value_heads": 32, "max_position_embeddings": 32_768}
DEFAULTS = {"llama": LLAMA, "qwen2": QWEN2, "qwen3": QWEN2 | {"head_dim": 128}}
REQUIRED = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "use_sliding_window": False,
    "pretraining_tp": 1,
    "partial_rotary_factor": 1.0,
    "truncate": True,
    "mscale": None,
    "mscale_all_dim": None,
}
FACTOR = {"factor": "factor"}
TRAINED = {"trained_positions": "original_max_position_embeddings"}
RAMP = {"beta_fast": "beta_fast", "beta_slow": "beta_slow", "attention_factor": "attention_factor"}
SCALINGS: dict[str, dict[str, str]] = {
    "none": {},
    "linear": FACTOR,
    "yarn": {**FACTOR, **TRAINED, **RAMP},
    "llama3": {
        **FACTOR,
        **TRAINED,
        "beta_fast": "high_freq_factor",
        "beta_slow": "low_freq_factor",
    },
}
"""RoPE scalings that transformers also supports, with its names for our knobs."""
ROPE_TYPES = {"default" if name == "none" else name: name for name in SCALINGS}
DEFAULT_MAX_POSITIONS = 4096
"""Written if positions are unlimited: the Hugging Face config requires a number."""


@dataclass
class LlamaLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(LlamaLayoutConfig)
class LlamaLayout(Layout):
    """decoder_only with prenorm, attention, swiglu, rmsnorm and rope."""

    defaults = DEFAULTS
    dropped = ("rotary_emb.inv_freq", "lm_head.weight")

    def read(self, fields: Fields) -> StackConfig:
        rope = {**(fields["rope_scaling"] or {}), **(fields["rope_parameters"] or {})}
        require_values({**fields, **rope}, REQUIRED)
        family = fields["model_type"]
        heads = fields["num_attention_heads"]
        attention_bias = bool(fields["attention_bias"])
        dim = fields["hidden_size"]
        head_dim = fields["head_dim"]
        eps = fields["rms_norm_eps"]
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
                qkv_bias=attention_bias or family == "qwen2",
                out_bias=attention_bias,
                head_dim=None if head_dim in (None, dim // heads) else head_dim,
                qk_norm=family == "qwen3",
                qk_norm_eps=eps if family == "qwen3" else 1e-6,
            ),
            mlp=plugin_config(
                "architecture/mlp/swiglu", ratio=fields["intermediate_size"] / dim, multiple_of=1
            ),
            norm=plugin_config("architecture/norm/rmsnorm", eps=eps),
            position=plugin_config(
                "architecture/position/rope",
                theta=float(rope.get("rope_theta", fields["rope_theta"])),
                max_positions=fields["max_position_embeddings"],
                scaling=self._scaling(fields, rope),
            ),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "mlp": "swiglu", "norm": "rmsnorm"}
        if not has_parts(config, "decoder_only", **parts, position="rope", head="linear"):
            return None
        family = self._family(config)
        mixer = config.mixer
        mlp = config.mlp
        return {
            "model_type": family,
            "architectures": [f"{family.capitalize()}ForCausalLM"],
            "hidden_size": config.dim,
            "intermediate_size": mlp.hidden(config.dim),
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_heads // mixer.queries_per_kv,
            "head_dim": mixer.key_dim or config.dim // config.n_heads,
            "attention_bias": mixer.qkv_bias and family != "qwen2",
            "hidden_act": "silu",
            "rms_norm_eps": config.norm.eps,
            "rope_theta": config.position.theta,
            "rope_scaling": self._rope_scaling(config.position.scaling),
            "max_position_embeddings": config.position.max_positions or DEFAULT_MAX_POSITIONS,
            "tie_word_embeddings": config.tie,
            "initializer_range": vars(config.init).get("std", 0.02),
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        mixer = config.mixer
        yield WeightMapping("model.embed_tokens.weight", ("embedding.weight",))
        for i in range(config.n_layers):
            theirs = f"model.layers.{i}"
            ours = f"stack.blocks.{i}"
            for name in ("q", "k", "v"):
                for kind in ("weight", "bias") if mixer.qkv_bias else ("weight",):
                    yield WeightMapping(
                        f"{theirs}.self_attn.{name}_proj.{kind}", (f"{ours}.mixer.{name}.{kind}",)
                    )
            for kind in ("weight", "bias") if mixer.out_bias else ("weight",):
                yield WeightMapping(
                    f"{theirs}.self_attn.o_proj.{kind}", (f"{ours}.mixer.out.{kind}",)
                )
            for name in ("q", "k") if mixer.qk_norm else ():
                yield WeightMapping(
                    f"{theirs}.self_attn.{name}_norm.weight", (f"{ours}.mixer.{name}_norm.weight",)
                )
            for name in ("gate", "up", "down"):
                yield WeightMapping(
                    f"{theirs}.mlp.{name}_proj.weight", (f"{ours}.mlp.{name}.weight",)
                )
            yield WeightMapping(f"{theirs}.input_layernorm.weight", (f"{ours}.mixer_norm.weight",))
            yield WeightMapping(
                f"{theirs}.post_attention_layernorm.weight", (f"{ours}.mlp_norm.weight",)
            )
        yield WeightMapping("model.norm.weight", ("stack.norm.weight",))
        if not config.tie:
            yield WeightMapping("lm_head.weight", ("head.out.weight",))

    def _scaling(self, fields: Fields, rope: Fields) -> AnyStack:
        """The RoPE scaling, read from the fields of older or newer configs."""
        kind = rope.get("rope_type", rope.get("type", "default"))
        described = {"model_type": fields["model_type"], "rope_type": kind}
        name = translate(described, "rope_type", ROPE_TYPES)
        default = {TRAINED["trained_positions"]: fields["max_position_embeddings"]}
        given = {key: value for key, value in {**default, **rope}.items() if value is not None}
        knobs = {
            ours: given[theirs] if theirs in given else fields[f"rope_parameters.{theirs}"]
            for ours, theirs in SCALINGS[name].items()
            if theirs in given or theirs not in RAMP  # a ramp has the same defaults here
        }
        return plugin_config(f"architecture/position/scaling/{name}", **knobs)

    def _rope_scaling(self, scaling: AnyStack) -> dict[str, Any] | None:
        """The `rope_scaling` field for transformers 4 and 5; None without scaling."""
        name = plugin_of(scaling).address.rpartition("/")[2]
        values = {theirs: vars(scaling)[ours] for ours, theirs in SCALINGS.get(name, {}).items()}
        fields = {theirs: value for theirs, value in values.items() if value is not None}
        return {"rope_type": name, **fields} if fields else None

    def _family(self, config: AnyStack) -> str:
        """The family by attention: qwen3 = QK norm, qwen2 = biases on q, k, v only, else llama."""
        mixer = config.mixer
        if mixer.qk_norm:
            return "qwen3"
        return "qwen2" if mixer.qkv_bias and not mixer.out_bias else "llama"
