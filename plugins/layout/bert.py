"""BERT and RoBERTa checkpoints in Hugging Face format.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805; Liu et al. 2019,
https://arxiv.org/abs/1907.11692. The names are those of transformers' `models/bert` and
`models/roberta`; RoBERTa does not distinguish segments, its head uses exact GELU, and its
position table starts with unused rows up to the padding id.
Dropout is not read, as it is a training choice; poolers and sentence-pair heads are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etude import plugin
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
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}
REQUIRED = {
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "position_embedding_type": "absolute",
}
EMBEDDINGS = {
    "word_embeddings": "embedding",
    "token_type_embeddings": "stack.segments",
    "position_embeddings": "stack.position.table",
    "LayerNorm": "stack.embedding_norm",
}
LAYER = {
    "attention.self.query": "mixer.q",
    "attention.self.key": "mixer.k",
    "attention.self.value": "mixer.v",
    "attention.output.dense": "mixer.out",
    "attention.output.LayerNorm": "mixer_norm",
    "intermediate.dense": "mlp.up",
    "output.dense": "mlp.down",
    "output.LayerNorm": "mlp_norm",
}
HEADS = {
    "bert": {
        "cls.predictions.transform.dense": "head.dense",
        "cls.predictions.transform.LayerNorm": "head.norm",
    },
    "roberta": {"lm_head.dense": "head.dense", "lm_head.layer_norm": "head.norm"},
}
BIAS = {"bert": "cls.predictions", "roberta": "lm_head"}
"""The module that contains the bias of the logits."""


@dataclass
class BertLayoutConfig(LayoutConfig):
    """No knobs."""


@plugin(BertLayoutConfig)
class BertLayout(Layout):
    """encoder_only with postnorm, attention, gelu, layernorm, learned positions, transform."""

    defaults = {"bert": DEFAULTS, "roberta": DEFAULTS | {"pad_token_id": 1}}
    dropped = (
        "pooler.dense.weight", "pooler.dense.bias", "cls.seq_relationship", "position_ids",
        "decoder.weight", "decoder.bias", "classifier",
    )  # fmt: skip
    scores = {
        "bert": TanhScore("bert.pooler.dense", "classifier"),
        "roberta": TanhScore("classifier.dense", "classifier.out_proj"),
    }

    def read(self, fields: Fields) -> StackConfig:
        require_values(fields, REQUIRED)
        dim = fields["hidden_size"]
        gelu = translate(fields, "hidden_act", GELUS)
        positions = fields["max_position_embeddings"] - _offset(fields)
        return plugin_config(
            "architecture/encoder_only",
            dim=dim,
            n_layers=fields["num_hidden_layers"],
            n_heads=fields["num_attention_heads"],
            norm_embedding=True,
            n_segments=fields["type_vocab_size"],
            block=plugin_config("architecture/block/postnorm"),
            mixer=plugin_config("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=plugin_config(
                "architecture/mlp/gelu", ratio=fields["intermediate_size"] / dim, approximate=gelu
            ),
            norm=plugin_config("architecture/norm/layernorm", eps=fields["layer_norm_eps"]),
            position=plugin_config("architecture/position/learned", max_positions=positions),
            head=plugin_config(
                "architecture/head/transform", approximate="none" if _is_roberta(fields) else gelu
            ),
            init=plugin_config("architecture/init/normal", std=fields["initializer_range"]),
        )

    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "postnorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not has_parts(config, "encoder_only", **parts, position="learned", head="transform"):
            return None
        if not has_default_head_dim(config) or config.n_segments == 0:
            return None
        mlp = config.mlp.approximate.value
        head = config.head.approximate.value
        roberta = head == "none" and (config.n_segments == 1 or mlp != head)
        fields = {
            "model_type": "roberta" if roberta else "bert",
            "architectures": ["RobertaForMaskedLM" if roberta else "BertForMaskedLM"],
            "hidden_size": config.dim,
            "intermediate_size": config.mlp.hidden(config.dim),
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "type_vocab_size": config.n_segments,
            "hidden_act": GELU_NAMES[mlp],
            "layer_norm_eps": config.norm.eps,
            "tie_word_embeddings": True,
            "initializer_range": vars(config.init).get("std", 0.02),
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": config.dropout,
        }
        rows = config.position.max_positions + _offset({**fields, "pad_token_id": vocab.pad})
        return {**fields, "max_position_embeddings": rows}

    def weight_map(self, config: AnyStack, fields: Fields) -> Iterator[WeightMapping]:
        family = fields["model_type"]
        offset = _offset(fields)
        for theirs, ours in EMBEDDINGS.items():
            for kind in ("weight", "bias") if theirs == "LayerNorm" else ("weight",):
                unused = offset if theirs == "position_embeddings" else 0
                name = f"{family}.embeddings.{theirs}.{kind}"
                yield WeightMapping(name, (f"{ours}.{kind}",), offset=unused)
        yield from mappings(HEADS[family], "weight", "bias")
        for i in range(config.n_layers):
            layer = f"{family}.encoder.layer.{i}"
            block = f"stack.blocks.{i}"
            modules = {f"{layer}.{k}": f"{block}.{v}" for k, v in LAYER.items()}
            yield from mappings(modules, "weight", "bias")
        head = BIAS[family]
        yield WeightMapping(f"{head}.bias", ("head.out.bias",), aliases=(f"{head}.decoder.bias",))


def _is_roberta(fields: Fields) -> bool:
    return fields["model_type"] == "roberta"


def _offset(fields: Fields) -> int:
    """Unused rows at the start of the position table."""
    return fields["pad_token_id"] + 1 if _is_roberta(fields) else 0
