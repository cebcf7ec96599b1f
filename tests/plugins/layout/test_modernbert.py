import json
from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
from transformers import AutoModelForMaskedLM, ModernBertConfig, ModernBertForMaskedLM
from transformers.models.modernbert import modeling_modernbert

from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> ModernBertForMaskedLM:
    heads = (1, 2, 4, 3)[seed % 4]
    thetas = ((16e4, 1e4), (500.0, 500.0))[seed % 2]
    rope = [{"rope_type": "default", "rope_theta": theta} for theta in thetas]
    values: dict[str, Any] = {
        "global_attn_every_n_layers": (2, 3, 1)[seed % 3],
        "local_attention": 2 + seed % 7,
        "hidden_activation": ("gelu", "gelu_pytorch_tanh")[seed % 2],
        "classifier_activation": ("gelu", "gelu_new")[seed // 2 % 2],
        "rope_parameters": dict(zip(("full_attention", "sliding_attention"), rope, strict=True)),
    }
    config = ModernBertConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=heads * (4, 8, 6)[seed % 3],
        num_hidden_layers=1 + seed % 4,
        num_attention_heads=heads,
        intermediate_size=20 + seed,
        max_position_embeddings=64 + seed,
        norm_eps=(1e-5, 1e-3)[seed % 2],
        norm_bias=seed % 5 == 4,
        attention_bias=seed % 3 == 1,
        mlp_bias=seed % 3 == 2,
        classifier_bias=seed % 4 == 3,
        pad_token_id=tiny.BYTES.vocab.pad,
        bos_token_id=tiny.BYTES.vocab.bos,
        eos_token_id=tiny.BYTES.vocab.eos,
        cls_token_id=tiny.BYTES.vocab.cls,
        sep_token_id=tiny.BYTES.vocab.sep,
        **(values | fields),
    )
    return ModernBertForMaskedLM(config)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parity.save_model(model(seed), tmp_path)
    parity.neutralise(monkeypatch, modeling_modernbert)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path).double().eval()
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-10)


@pytest.mark.parametrize("seed", [0, 3, 6])
def test_a_round_trip_preserves_the_model(seed: int, tmp_path: Path) -> None:
    parity.save_model(model(seed), tmp_path / "theirs")
    found = read_model(tmp_path / "theirs")
    parity.assert_round_trip(found, tmp_path, AutoModelForMaskedLM)


def test_all_layers_may_be_global_or_local(tmp_path: Path) -> None:
    for kind in ("full_attention", "sliding_attention"):
        folder = tmp_path / kind
        theirs = parity.save_model(model(2, layer_types=[kind] * 3), folder)
        found = read_model(folder)
        parity.assert_same_mask_filling(found, theirs, 1e-5)
        parity.assert_round_trip(found, folder / "again", AutoModelForMaskedLM)


def test_the_fields_of_the_published_models_are_read(tmp_path: Path) -> None:
    """Their config.json has no layer_types and no rope_parameters."""
    parity.save_model(model(6), tmp_path)
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    wanted = read_model(tmp_path).architecture
    for name in ("layer_types", "rope_parameters"):
        del fields[name]
    old = {
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "position_embedding_type": "absolute",
    }
    file.write_text(json.dumps(fields | old))
    assert read_model(tmp_path).architecture == wanted


def test_the_preset_has_the_layout_of_its_family() -> None:
    found = find_layout(parity.preset("modernbert"), tiny.BYTES.vocab)
    assert found is not None
    assert found[1]["model_type"] == "modernbert"
    assert found[1]["local_attention"] == 128


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_activation": "silu"}, "hidden_activation='silu'"),
        ({"classifier_activation": "relu"}, "classifier_activation='relu'"),
        ({"decoder_bias": False}, "decoder_bias=False"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types="),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}}},
            "rope_type='linear'",
        ),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, object], named: str, tmp_path: Path
) -> None:
    parity.save_model(model(1), tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
