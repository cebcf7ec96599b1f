from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM
from transformers.models.bloom import modeling_bloom

from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> BloomForCausalLM:
    heads = (1, 2, 4, 3, 6)[seed % 5]
    config = BloomConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=heads * (4, 8, 6)[seed % 3],
        n_layer=1 + seed % 3,
        n_head=heads,
        layer_norm_epsilon=(1e-5, 1e-3)[seed % 2],
        bos_token_id=tiny.BYTES.vocab.bos,
        eos_token_id=tiny.BYTES.vocab.eos,
        pad_token_id=tiny.BYTES.vocab.pad,
        **fields,
    )
    return BloomForCausalLM(config)


def exact_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives transformers' GELU sqrt(2 / pi) in full precision; it has only eight digits."""

    def gelu(module: torch.nn.Module, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    monkeypatch.setattr(modeling_bloom.BloomGelu, "forward", gelu)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.neutralise(monkeypatch, modeling_bloom)
    exact_gelu(monkeypatch)
    parity.assert_same(read_model(tmp_path), theirs, 1e-10)


def test_a_round_trip_preserves_the_model(tmp_path: Path) -> None:
    parity.save_model(model(2), tmp_path / "theirs")
    parity.assert_round_trip(read_model(tmp_path / "theirs"), tmp_path)


def test_the_preset_is_a_bloom_unless_the_mlp_has_another_width() -> None:
    config: Any = parity.preset("bloom")
    found = find_layout(config, tiny.VOCAB)
    assert found is not None
    assert found[1]["model_type"] == "bloom"
    config.mlp.ratio = 3.0
    assert find_layout(config, tiny.VOCAB) is None


def test_an_unsupported_field_is_rejected_by_name(tmp_path: Path) -> None:
    fields = {"apply_residual_connection_post_layernorm": True}
    parity.save_model(model(0, **fields), tmp_path)
    with pytest.raises(ConfigError, match=r"post_layernorm=True \(supported: False\)"):
        read_model(tmp_path)
