import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import transformers
from transformers import PreTrainedModel

from etude.errors import ConfigError
from etude.formats import hugging_face
from etude.formats.model import read_model

FAMILIES = ("Llama", "Qwen2", "Qwen3")
families = pytest.mark.parametrize("family", FAMILIES)


def model(family: str, seed: int, **fields: Any) -> PreTrainedModel:
    kv_heads = (1, 2, 3)[seed % 3]
    heads = kv_heads * (1, 2)[seed % 2]
    head_dim = (4, 8)[seed % 2]
    if family == "Qwen3":
        fields["head_dim"] = head_dim * (1, 2)[seed % 2]
    theta = (1e4, 5e5)[seed % 2]
    fields.setdefault("vocab_size", tiny.BYTES.vocab.size)
    fields.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": theta})
    config = getattr(transformers, f"{family}Config")(
        hidden_size=heads * head_dim,
        intermediate_size=20 + seed,
        num_hidden_layers=1 + seed % 3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        rms_norm_eps=(1e-6, 1e-4)[seed % 2],
        max_position_embeddings=64,
        tie_word_embeddings=seed % 2 == 1,
        **fields,
    )
    return getattr(transformers, f"{family}ForCausalLM")(config)


@families
@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(family: str, seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(family, seed), tmp_path)
    parity.assert_same(read_model(tmp_path), theirs, 1e-5)


@families
@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    family: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = family.lower()
    module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    parity.neutralise(monkeypatch, module)  # first: frequencies are computed at construction
    theirs = parity.save_model(model(family, seed), tmp_path).double()
    parity.assert_same(read_model(tmp_path), theirs, 1e-10)


@families
@pytest.mark.parametrize("seed", [0, 1])
def test_a_round_trip_preserves_the_model(family: str, seed: int, tmp_path: Path) -> None:
    parity.save_model(model(family, seed), tmp_path / "theirs")
    parity.assert_round_trip(read_model(tmp_path / "theirs"), tmp_path)


def test_rows_without_an_id_of_the_tokenizer_count_as_in_transformers(tmp_path: Path) -> None:
    size = tiny.BYTES.vocab.size + 3
    theirs = parity.save_model(model("Llama", 3, vocab_size=size), tmp_path)
    found = read_model(tmp_path)
    assert found.tokenizer.vocab.size == size
    parity.assert_same(found, theirs, 1e-5)
    parity.assert_round_trip(found, tmp_path / "again")


SCALED: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 3.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
    | {"beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 0.8},
    {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8}
    | {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
]
scaled = pytest.mark.parametrize("rope", SCALED, ids=lambda rope: rope["rope_type"])


@scaled
def test_scaled_rope_agrees_with_transformers(rope: dict[str, Any], tmp_path: Path) -> None:
    theirs = model("Llama", 4, rope_parameters={"rope_theta": 1e3, **rope})
    parity.save_model(theirs, tmp_path)
    parity.assert_same(read_model(tmp_path), theirs, 1e-5)


@scaled
def test_a_round_trip_preserves_scaled_rope(rope: dict[str, Any], tmp_path: Path) -> None:
    theirs = model("Qwen3", 1, rope_parameters={"rope_theta": 1e3, **rope})
    parity.save_model(theirs, tmp_path / "theirs")
    parity.assert_round_trip(read_model(tmp_path / "theirs"), tmp_path)


@scaled
@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_scaled_rope_is_read_from_older_configs(
    rope: dict[str, Any], key: str, tmp_path: Path
) -> None:
    parity.save_model(model("Llama", 2, rope_parameters={"rope_theta": 1e3, **rope}), tmp_path)
    new = read_model(tmp_path).architecture
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    del fields["rope_parameters"]
    fields |= {"rope_theta": 1e3, "rope_scaling": {**rope, key: rope["rope_type"]}}
    if key == "type":
        del fields["rope_scaling"]["rope_type"]
    file.write_text(json.dumps(fields))
    assert read_model(tmp_path).architecture == new


def test_ntk_scaling_has_no_layout() -> None:
    position = tiny.part("architecture/position", "rope")
    parts = {"mlp": "swiglu", "norm": "rmsnorm"}
    for name, has in (("none", True), ("ntk", False)):
        scaling = tiny.part("architecture/position/scaling", name)
        config = tiny.stack(**parts, position=replace(position, scaling=scaling))
        assert (hugging_face.find_layout(config, tiny.VOCAB) is not None) == has


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"mlp_bias": True}, "mlp_bias=True"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope_type='dynamic'",
        ),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "partial_rotary_factor=0.5",
        ),
        ({"rope_parameters": {**SCALED[1], "truncate": False}}, "truncate=False"),
        ({"rope_parameters": {**SCALED[1], "mscale": 0.7}}, r"mscale=0\.7"),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, object], named: str, tmp_path: Path
) -> None:
    theirs = model("Llama", 0)
    for name, value in fields.items():
        setattr(theirs.config, name, value)
    parity.save_model(theirs, tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
