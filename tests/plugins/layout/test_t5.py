from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from tokenizers.models import WordLevel
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration
from transformers.models.t5 import modeling_t5

from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_files import TokenizerFiles
from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model
from etude.formats.weight_map import read_tensors


def model(seed: int, **fields: Any) -> T5ForConditionalGeneration:
    """A T5 if the seed is even, a v1.1 with an untied head if it is odd."""
    heads, new = (1, 2, 4, 3)[seed % 4], seed % 2 == 1
    layers = 1 + seed % 3
    values: dict[str, Any] = {
        "vocab_size": tiny.BYTES.vocab.size,
        "d_model": heads * (4, 8, 6)[seed % 3],
        "d_kv": (4, 8, 6, 5)[seed % 4],
        "d_ff": 20 + seed,
        "num_layers": layers,
        "num_heads": heads,
        "relative_attention_num_buckets": (8, 32, 12)[seed % 3],
        "relative_attention_max_distance": (20, 128)[seed % 2],
        "layer_norm_epsilon": (1e-6, 1e-4)[seed % 2],
        "feed_forward_proj": "gated-gelu" if new else "relu",
        "tie_word_embeddings": not new,
        "decoder_start_token_id": tiny.BYTES.vocab.pad,
        "pad_token_id": tiny.BYTES.vocab.pad,
        "eos_token_id": tiny.BYTES.vocab.eos,
    }
    model = T5ForConditionalGeneration(T5Config(**values | fields))
    if new:  # transformers 5 ties the head although the config says otherwise
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    return model


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same_seq2seq(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.neutralise(monkeypatch, modeling_t5)
    parity.assert_same_seq2seq(read_model(tmp_path), theirs, 1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_round_trip_preserves_the_model(seed: int, tmp_path: Path) -> None:
    parity.save_model(model(seed), tmp_path / "theirs")
    loaded = read_model(tmp_path / "theirs")
    parity.assert_round_trip(loaded, tmp_path, AutoModelForSeq2SeqLM)


@pytest.mark.parametrize("preset", ["t5", "t5_v1_1"])
def test_the_preset_is_a_t5(preset: str) -> None:
    found = find_layout(parity.preset(preset), tiny.VOCAB)
    assert found is not None
    assert found[1]["model_type"] == "t5"
    assert found[1]["feed_forward_proj"] == {"t5": "relu", "t5_v1_1": "gated-gelu"}[preset]


def test_a_missing_head_is_the_token_table(tmp_path: Path) -> None:
    parity.save_model(model(1, vocab_size=tiny.BYTES.vocab.size + 5), tmp_path)
    tensors = read_tensors(tmp_path)
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    state = read_model(tmp_path).network().state_dict()
    assert torch.equal(state["head.out.weight"], state["embedding.weight"])
    assert len(state["embedding.weight"]) == tiny.BYTES.vocab.size + 5


def test_copies_of_the_table_and_unused_biases_are_ignored(tmp_path: Path) -> None:
    """As in the checkpoints of 2019; the token table may have any of its names."""
    parity.save_model(model(0), tmp_path)
    before = read_model(tmp_path).network().state_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    table = tensors.pop("shared.weight")
    tensors |= {f"{side}.embed_tokens.weight": table.clone() for side in ("encoder", "decoder")}
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    save_file(tensors | {unread: torch.ones(8, 1)}, tmp_path / "model.safetensors")
    after = read_model(tmp_path).network().state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_the_sentinels_of_t5_have_descending_ids(tmp_path: Path) -> None:
    named = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    ids = {literal: i for i, literal in enumerate((*named.values(), "a"))}
    ids |= {f"<extra_id_{i}>": 103 - i for i in range(100)}
    parity.save_model(model(0), tmp_path)
    inner = tokenizers.Tokenizer(WordLevel(ids, unk_token="<unk>"))
    Tokenizer(inner, TokenizerFiles(named)).save(tmp_path)
    vocab = read_model(tmp_path).tokenizer.vocab
    assert vocab.sentinels == tuple(range(103, 3, -1))
    assert (vocab.pad, vocab.eos) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"num_decoder_layers": 5}, r"num_decoder_layers=5 \(supported: 1\)"),
        ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj='gated-silu'"),
        ({"decoder_start_token_id": 7}, r"decoder_start_token_id=7 \(supported: 0\)"),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, Any], named: str, tmp_path: Path
) -> None:
    parity.save_model(model(0, **fields), tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
