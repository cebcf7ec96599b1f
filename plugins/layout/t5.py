"""T5, T5 v1.1 and Flan-T5 checkpoints in Hugging Face format.

Raffel et al. 2019, https://arxiv.org/abs/1910.10683; v1.1: Shazeer 2020,
https://arxiv.org/abs/2002.05202, as google-research/text-to-text-transfer-transformer describes
it. The names are those of transformers' `models/t5`. There, a tied head reads hidden states
divided by sqrt(dim), and an untied head (v1.1) does not; transformers 5 writes that as
`scale_decoder_outputs`, with `tie_word_embeddings` always true.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import plugin
from etude.config import LayoutConfig, MlpConfig, StackConfig
from etude.data import Vocab
from etude.formats import (
    AnyStack,
    Fields,
    Layout,
    WeightMapping,
    has_parts,
    plugin_config,
    require_values,
)

DEFAULTS = {
    "d_kv": 64,
    "num_decoder_layers": None,
    "pad_token_id": 0,
    "decoder_start_token_id": None,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "tie_word_embeddings": True,
    "scale_decoder_outputs": True,
}
MLPS = {"relu": "relu", "geglu": "gated-gelu"}
"""MLP names: ours and transformers'."""
ATTENTION = {"q": "q", "k": "k", "v": "v", "o": "out"}
MLP = {
    "relu": {"wi": "up", "wo": "down"},
    "gated-gelu": {"wi_0": "gate", "wi_1": "up", "wo": "down"},
}
"""Names of linear layers: transformers' and ours."""


@dataclass
class T5LayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(T5LayoutConfig)
class T5Layout(Layout):
    """encoder_decoder with prenorm, unscaled attention, relu or geglu, rmsnorm, relative."""

    defaults = {"t5": DEFAULTS}
    dropped = ("EncDecAttention.relative_attention_bias.weight",)

    def read(self, fields: Fields) -> StackConfig:
        pad = fields["pad_token_id"]
        n_decoder = fields["num_decoder_layers"] or fields["num_layers"]
        start = pad if (given := fields["decoder_start_token_id"]) is None else given
        require_values(
            {**fields, "num_decoder_layers": n_decoder, "decoder_start_token_id": start},
            {"num_decoder_layers": fields["num_layers"], "decoder_start_token_id": pad},
        )
        dim = fields["d_model"]
        heads = fields["num_heads"]
        shared = bool(fields["tie_word_embeddings"] and fields["scale_decoder_outputs"])
        return plugin_config(
            "architecture/encoder_decoder",
            dim=dim,
            n_layers=fields["num_layers"],
            n_heads=heads,
            tie=shared,
            block=plugin_config("architecture/block/prenorm"),
            mixer=plugin_config(
                "architecture/mixer/attention",
                scaled=False,
                head_dim=None if fields["d_kv"] * heads == dim else fields["d_kv"],
            ),
            mlp=self._mlp(fields),
            norm=plugin_config("architecture/norm/rmsnorm", eps=fields["layer_norm_epsilon"]),
            position=plugin_config(
                "architecture/position/relative",
                n_buckets=fields["relative_attention_num_buckets"],
                max_distance=fields["relative_attention_max_distance"],
            ),
            head=plugin_config("architecture/head/linear", scaled=shared),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "norm": "rmsnorm", "head": "linear"}
        mlps = [
            theirs
            for ours, theirs in MLPS.items()
            if has_parts(config, "encoder_decoder", **parts, position="relative", mlp=ours)
        ]
        if not mlps:
            return None
        return {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration"],
            "is_encoder_decoder": True,
            "d_model": config.dim,
            "d_kv": config.mixer.key_dim or config.dim // config.n_heads,
            "d_ff": config.mlp.hidden(config.dim),
            "num_layers": config.n_layers,
            "num_decoder_layers": config.n_layers,
            "num_heads": config.n_heads,
            "relative_attention_num_buckets": config.position.n_buckets,
            "relative_attention_max_distance": config.position.max_distance,
            "feed_forward_proj": mlps[0],
            "layer_norm_epsilon": config.norm.eps,
            "dropout_rate": config.dropout,
            "initializer_factor": vars(config.init).get("factor", 1.0),
            "tie_word_embeddings": config.tie,
            "decoder_start_token_id": vocab.pad,
        }

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
        copies += ["lm_head.weight"] if config.tie else []
        yield WeightMapping("shared.weight", ("embedding.weight",), aliases=tuple(copies))
        mlp = MLP[fields["feed_forward_proj"]]
        for side, last in (("encoder", 1), ("decoder", 2)):
            bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            yield WeightMapping(bias, (f"{side}.position.table.weight",))
            branches = [(0, "SelfAttention", "mixer", ATTENTION)]
            branches += [(1, "EncDecAttention", "cross", ATTENTION)] * (side == "decoder")
            branches += [(last, "DenseReluDense", "mlp", mlp)]
            for i in range(config.n_layers):
                for place, theirs, ours, names in branches:
                    layer = f"{side}.block.{i}.layer.{place}"
                    block = f"{side}.blocks.{i}.{ours}"
                    yield WeightMapping(f"{layer}.layer_norm.weight", (f"{block}_norm.weight",))
                    for name, our in names.items():
                        yield WeightMapping(
                            f"{layer}.{theirs}.{name}.weight", (f"{block}.{our}.weight",)
                        )
            yield WeightMapping(f"{side}.final_layer_norm.weight", (f"{side}.norm.weight",))
        if not config.tie:  # missing if transformers tied them when saving
            yield WeightMapping("lm_head.weight", ("head.out.weight",), aliases=("shared.weight",))

    def _mlp(self, fields: Fields) -> MlpConfig:
        ratio = fields["d_ff"] / fields["d_model"]
        if fields["feed_forward_proj"] == "relu":
            return plugin_config("architecture/mlp/relu", ratio=ratio, bias=False)
        require_values(fields, {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new"})
        return plugin_config(
            "architecture/mlp/geglu", ratio=ratio, multiple_of=1, approximate="tanh"
        )
