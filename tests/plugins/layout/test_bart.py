from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, BartConfig, BartForConditionalGeneration
from transformers.models.bart import modeling_bart

from etude.errors import CheckpointError, ConfigError
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> BartForConditionalGeneration:
    heads = (1, 2, 4, 3)[seed % 4]
    both = {"layers": 1 + seed % 3, "ffn_dim": 20 + seed, "attention_heads": heads}
    values: dict[str, Any] = {
        f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in both.items()
    }
    values |= {
        "vocab_size": tiny.BYTES.vocab.size,
        "d_model": heads * (4, 8, 6)[seed % 3],
        "max_position_embeddings": 64 + seed,
        "scale_embedding": seed % 2 == 1,
        "decoder_start_token_id": tiny.BYTES.vocab.eos,
        "forced_eos_token_id": None,
        "bos_token_id": tiny.BYTES.vocab.bos,
        "eos_token_id": tiny.BYTES.vocab.eos,
        "pad_token_id": tiny.BYTES.vocab.pad,
    }
    return BartForConditionalGeneration(BartConfig(**values | fields))


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same_seq2seq(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.neutralise(monkeypatch, modeling_bart)
    parity.assert_same_seq2seq(read_model(tmp_path), theirs, 1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_round_trip_preserves_the_model(seed: int, tmp_path: Path) -> None:
    parity.save_model(model(seed), tmp_path / "theirs")
    loaded = read_model(tmp_path / "theirs")
    parity.assert_round_trip(loaded, tmp_path, AutoModelForSeq2SeqLM)


def test_a_model_saved_without_its_head_is_loaded(tmp_path: Path) -> None:
    """Like facebook/bart-base; a copy of the token table may replace it."""
    parity.save_model(model(0), tmp_path)
    before = read_model(tmp_path).network().state_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.encoder.embed_tokens.weight"] = tensors.pop("model.shared.weight")
    bare = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    save_file(bare, tmp_path / "model.safetensors")
    after = read_model(tmp_path).network().state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_biases_of_the_logits_must_be_zero(tmp_path: Path) -> None:
    parity.save_model(model(0), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for bias, fits in ((torch.zeros(1, tiny.BYTES.vocab.size), True), (torch.ones(1, 9), False)):
        save_file(tensors | {"final_logits_bias": bias}, tmp_path / "model.safetensors")
        if fits:
            read_model(tmp_path).network()
        else:
            with pytest.raises(
                CheckpointError, match="Unexpected tensors in the checkpoint: final"
            ):
                read_model(tmp_path).network()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"decoder_layers": 5}, r"decoder_layers=5 \(supported: 1\)"),
        ({"decoder_ffn_dim": 5}, r"decoder_ffn_dim=5 \(supported: 20\)"),
        ({"activation_function": "relu"}, "activation_function='relu'"),
        ({"decoder_start_token_id": 0}, r"decoder_start_token_id=0 \(supported: 3\)"),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, Any], named: str, tmp_path: Path
) -> None:
    parity.save_model(model(0, **fields), tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
