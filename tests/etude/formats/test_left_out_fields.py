"""A field that a config.json leaves out has the default of transformers, in every family."""

import json
from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers import AutoModelForSeq2SeqLM as AutoSeq2Seq

from etude.errors import EtudeError
from etude.formats.model import read_model
from etude.network.inputs import Inputs

LLAMA = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-2, "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "tie_word_embeddings": True,
}  # fmt: skip
BERT = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "hidden_act": "gelu_new", "layer_norm_eps": 1e-2, "max_position_embeddings": 64,
    "type_vocab_size": 2,
}  # fmt: skip
SIDES = {"layers": 2, "ffn_dim": 24, "attention_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**LLAMA, "attention_bias": True},
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "attention_bias": True},
    "mixtral": {
        **LLAMA, "num_local_experts": 3, "num_experts_per_tok": 1, "sliding_window": 3,
        "attn_implementation": "eager",
    },
    "gpt2": {
        "n_embd": 16, "n_layer": 2, "n_head": 4, "n_inner": 24, "n_positions": 64,
        "layer_norm_epsilon": 1e-2,
    },
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 8, "layer_norm_epsilon": 1e-2},
    "bert": BERT,
    "roberta": {**BERT, "pad_token_id": 0},
    "albert": {**BERT, "embedding_size": 8, "num_hidden_groups": 2, "hidden_act": "gelu"},
    "modernbert": {
        **{key: BERT[key] for key in BERT if key not in ("hidden_act", "layer_norm_eps")},
        "hidden_activation": "gelu_new", "classifier_activation": "gelu_new", "norm_eps": 1e-2,
        "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True,
        "local_attention": 4, "global_attn_every_n_layers": 2,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 50.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    },
    "bart": {
        "d_model": 16, "max_position_embeddings": 64, "scale_embedding": True,
        **{f"{side}_{k}": n for side in ("encoder", "decoder") for k, n in SIDES.items()},
        "decoder_start_token_id": tiny.BYTES.vocab.eos,
    },
    "t5": {
        "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 4,
        "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-2,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16,
        "tie_word_embeddings": False, "decoder_start_token_id": tiny.BYTES.vocab.pad,
    },
}  # fmt: skip
AUTO = {
    **dict.fromkeys(("bert", "roberta", "albert", "modernbert"), AutoModelForMaskedLM),
    **dict.fromkeys(("bart", "t5"), AutoSeq2Seq),
}
NAMES = {"model_type", "architectures", "transformers_version"}


def saved(family: str, folder: Path) -> dict[str, Any]:
    """Saves a small model whose every field differs from its default; returns its config.json."""
    vocab = tiny.BYTES.vocab
    ids = {"vocab_size": vocab.size, "bos_token_id": vocab.bos, "eos_token_id": vocab.eos}
    fields = {**ids, "pad_token_id": vocab.pad, **CONFIGS[family]}
    config = AutoConfig.for_model(family, **fields)
    parity.save_model(AUTO.get(family, AutoModelForCausalLM).from_config(config), folder)
    return json.loads((folder / "config.json").read_text())


def their_logits(family: str, folder: Path, ids: torch.Tensor) -> torch.Tensor | None:
    """The logits of transformers; None if it cannot load the model completely."""
    transformers.logging.set_verbosity_error()
    auto: Any = AUTO.get(family, AutoModelForCausalLM)
    try:
        model, problems = auto.from_pretrained(folder, output_loading_info=True)
    except (RuntimeError, ValueError, LookupError, ArithmeticError, AssertionError):
        return None
    except StrictDataclassError:
        return None
    if problems["missing_keys"] or problems["mismatched_keys"] or problems["unexpected_keys"]:
        return None
    extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(ids, **extra).logits


def assert_default_or_named(family: str, folder: Path, left_out: str | None) -> None:
    """The logits are those of transformers, or the error names the field and the file."""
    ids = tiny.tokens(2, 12, vocab=tiny.BYTES.vocab)
    wanted = their_logits(family, folder, ids)
    try:
        network = read_model(folder).network().eval()
    except EtudeError as error:
        refusal = str(error)
        assert left_out is not None, refusal
        assert left_out in refusal, refusal
        assert str(folder / "config.json") in refusal, refusal
        return
    if wanted is None:  # a default id beyond the small table, where ours depends on no such id
        assert str(left_out).endswith("_token_id"), f"transformers needs {left_out}"
        return
    extra = Inputs(ids) if family in ("bart", "t5") else None
    with torch.no_grad():
        found = network(Inputs(ids, source=extra))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5, msg=f"without {left_out}")


@pytest.mark.parametrize("family", CONFIGS)
def test_a_field_left_out_has_transformers_default_or_is_named(family: str, tmp_path: Path) -> None:
    fields = saved(family, tmp_path)
    for left_out in [None, *sorted(fields.keys() - NAMES)]:
        kept = {name: value for name, value in fields.items() if name != left_out}
        (tmp_path / "config.json").write_text(json.dumps(kept))
        assert_default_or_named(family, tmp_path, left_out)


LENGTH = {"original_max_position_embeddings": 8}


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 3.0},
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "attention_factor": 0.8, **LENGTH},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, **LENGTH}
        | {"high_freq_factor": 5.0},
    ],
    ids=lambda rope: rope["rope_type"],
)
def test_so_has_a_field_of_rope(rope: dict[str, Any], tmp_path: Path) -> None:
    fields = saved("llama", tmp_path)
    for left_out in [None, *sorted(rope.keys() - {"rope_type"})]:
        kept = {name: value for name, value in rope.items() if name != left_out}
        for place in ("rope_parameters", "rope_scaling"):
            described = {**fields, "rope_parameters": None, place: {"rope_theta": 100.0, **kept}}
            (tmp_path / "config.json").write_text(json.dumps(described))
            assert_default_or_named("llama", tmp_path, left_out)
