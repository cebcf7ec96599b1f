"""The Hugging Face format of a decoder with LayerNorm, ReLU and learned positions (OPT's wiring).

Zhang et al. 2022 (OPT), https://arxiv.org/abs/2205.01068. Deviation: a `model_type` and names of
its own. (Replace this with transformers' `models/<family>`: its fields, its names of tensors.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import plugin
from etude.config import LayoutConfig, StackConfig
from etude.data import Vocab
from etude.formats import AnyStack, Fields, Layout, WeightMapping, has_parts, plugin_config

PARTS = {"block": "prenorm", "mixer": "attention", "mlp": "relu", "norm": "layernorm"}


@dataclass
class SketchConfig(LayoutConfig):
    """No knobs."""


@plugin(SketchConfig)
class Sketch(Layout):
    """Fields and names of tensors, in both directions."""

    defaults = {"sketch": {"dropout": 0.0, "layer_norm_eps": 1e-5}}

    def read(self, fields: Fields) -> StackConfig:
        n_positions = fields["n_positions"]  # raises CheckpointError if it is missing
        return plugin_config(
            "architecture/decoder_only",
            dim=fields["hidden_size"],
            n_layers=fields["n_layers"],
            n_heads=fields["n_heads"],
            dropout=fields["dropout"],
            tie=True,
            block=plugin_config("architecture/block/prenorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config("architecture/mlp/relu", ratio=fields["mlp_ratio"]),
            norm=plugin_config("architecture/norm/layernorm", eps=fields["layer_norm_eps"]),
            position=plugin_config("architecture/position/learned", max_positions=n_positions),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        if not has_parts(config, "decoder_only", **PARTS, position="learned", head="linear"):
            return None  # another layout may fit
        return {
            "model_type": "sketch",
            "hidden_size": config.dim,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "n_positions": config.position.max_positions,
            "mlp_ratio": config.mlp.ratio,
            "layer_norm_eps": config.norm.eps,
            "dropout": config.dropout,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        yield WeightMapping("embed.weight", ("embedding.weight",))
        yield WeightMapping("positions.weight", ("stack.position.table.weight",))
        for i in range(config.n_layers):
            theirs, ours = f"layers.{i}", f"stack.blocks.{i}"
            for kind in ("weight", "bias"):
                for name in ("q", "k", "v", "out"):
                    yield WeightMapping(
                        f"{theirs}.attention.{name}.{kind}", (f"{ours}.mixer.{name}.{kind}",)
                    )
                for name in ("up", "down"):
                    yield WeightMapping(f"{theirs}.{name}.{kind}", (f"{ours}.mlp.{name}.{kind}",))
                for name in ("mixer_norm", "mlp_norm"):
                    yield WeightMapping(f"{theirs}.{name}.{kind}", (f"{ours}.{name}.{kind}",))
        for kind in ("weight", "bias"):
            yield WeightMapping(f"norm.{kind}", (f"stack.norm.{kind}",))
