"""GPT-2.

Radford et al. 2019, https://openai.com/index/better-language-models. The names are those of
transformers' `models/gpt2`: linear maps are stored [in, out], queries, keys and values in one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude import plugin
from etude.contracts import Vocab
from etude.layout import (
    Fields,
    Layout,
    LayoutConfig,
    Stacked,
    Tie,
    chosen,
    is_made_of,
    refuse_others,
)
from etude.schema import StackConfig, TokenizerConfig

ONLY = {
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

    model_types = ("gpt2",)
    dropped = (".attn.bias", ".attn.masked_bias", "lm_head.weight")

    def __init__(self, config: Gpt2LayoutConfig) -> None:
        self.config = config

    def read(self, fields: Fields) -> StackConfig:
        refuse_others(fields, ONLY)
        dim = fields["n_embd"]
        gelu = chosen("architecture/mlp/gelu", ratio=(fields.get("n_inner") or 4 * dim) / dim)
        gelu.approximate = type(gelu.approximate)("tanh")
        return chosen(
            "architecture/decoder_only",
            dim=dim,
            n_layers=fields["n_layer"],
            n_heads=fields["n_head"],
            tie=True,
            block=chosen("architecture/block/prenorm"),
            mixer=chosen("architecture/mixer/attention", qkv_bias=True, out_bias=True),
            mlp=gelu,
            norm=chosen("architecture/norm/layernorm", eps=fields["layer_norm_epsilon"]),
            position=chosen("architecture/position/learned", max_positions=fields["n_positions"]),
        )

    def tokenizer(self, folder: Path) -> TokenizerConfig:
        return chosen("tokenizer/pretrained", path=str(folder))

    def write(self, config: Stacked, vocab: Vocab) -> dict[str, Any] | None:
        parts = {"block": "prenorm", "mixer": "attention", "mlp": "gelu", "norm": "layernorm"}
        if not is_made_of(config, "decoder_only", **parts, position="learned", head="linear"):
            return None
        mixer, mlp, norm = config.mixer, config.mlp, config.norm
        plain = mixer.queries_per_kv == 1 and mixer.head_dim is None and not mixer.qk_norm
        biases = mixer.qkv_bias and mixer.out_bias and mlp.bias and norm.bias
        if not (plain and biases and mlp.approximate.value == "tanh" and config.tie):
            return None
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": vocab.size,
            "n_embd": config.dim,
            "n_inner": mlp.hidden(config.dim),
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_positions": config.position.max_positions,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": norm.eps,
            "tie_word_embeddings": True,
            "initializer_range": vars(config.init).get("std", 0.02),
            "attn_pdrop": 0.0,
            "embd_pdrop": config.dropout,
            "resid_pdrop": config.dropout,
            "bos_token_id": vocab.bos,
            "eos_token_id": vocab.eos,
            "pad_token_id": vocab.pad,
            "dtype": "float32",
        }

    def ties(self, config: Stacked, fields: Fields) -> Iterator[Tie]:
        yield Tie("transformer.wte.weight", ("embedding.weight",))
        yield Tie("transformer.wpe.weight", ("stack.position.table.weight",))
        for i in range(config.n_layers):
            theirs, ours = f"transformer.h.{i}", f"stack.blocks.{i}"
            for kind in ("weight", "bias"):
                matrix = kind == "weight"
                qkv = tuple(f"{ours}.mixer.{name}.{kind}" for name in ("q", "k", "v"))
                yield Tie(f"{theirs}.attn.c_attn.{kind}", qkv, matrix)
                yield Tie(f"{theirs}.attn.c_proj.{kind}", (f"{ours}.mixer.out.{kind}",), matrix)
                yield Tie(f"{theirs}.mlp.c_fc.{kind}", (f"{ours}.mlp.up.{kind}",), matrix)
                yield Tie(f"{theirs}.mlp.c_proj.{kind}", (f"{ours}.mlp.down.{kind}",), matrix)
                yield Tie(f"{theirs}.ln_1.{kind}", (f"{ours}.mixer_norm.{kind}",))
                yield Tie(f"{theirs}.ln_2.{kind}", (f"{ours}.mlp_norm.{kind}",))
        for kind in ("weight", "bias"):
            yield Tie(f"transformer.ln_f.{kind}", (f"stack.norm.{kind}",))
