from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2

from etude.errors import CheckpointError, ConfigError
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> GPT2LMHeadModel:
    heads = (1, 2, 4, 3)[seed % 4]
    config = GPT2Config(
        vocab_size=tiny.BYTES.vocab.size,
        n_embd=heads * (4, 8, 6)[seed % 3],
        n_layer=1 + seed % 3,
        n_head=heads,
        n_positions=64 + seed,
        bos_token_id=tiny.BYTES.vocab.bos,
        eos_token_id=tiny.BYTES.vocab.eos,
        n_inner=None if seed % 2 else 20 + seed,
        layer_norm_epsilon=(1e-5, 1e-3)[seed % 2],
        **fields,
    )
    return GPT2LMHeadModel(config)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.neutralise(monkeypatch, modeling_gpt2)
    parity.assert_same(read_model(tmp_path), theirs, 1e-10)


def test_a_round_trip_preserves_the_model(tmp_path: Path) -> None:
    parity.save_model(model(1), tmp_path / "theirs")
    parity.assert_round_trip(read_model(tmp_path / "theirs"), tmp_path)


def test_an_unsupported_field_is_rejected_by_name(tmp_path: Path) -> None:
    parity.save_model(model(0, scale_attn_by_inverse_layer_idx=True), tmp_path)
    with pytest.raises(ConfigError, match=r"_by_inverse_layer_idx=True \(supported: False\)"):
        read_model(tmp_path)


def test_a_folder_without_weights_is_rejected(tmp_path: Path) -> None:
    parity.save_model(model(0), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        read_model(tmp_path).network()
