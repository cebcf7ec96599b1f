from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral import modeling_mixtral

from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> MixtralForCausalLM:
    kv_heads = (1, 2, 3)[seed % 3]
    heads = kv_heads * (1, 2)[seed % 2]
    head_dim = (4, 8)[seed % 2]
    n_experts = (4, 2, 3, 8)[seed % 4]
    config = MixtralConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=heads * head_dim,
        intermediate_size=20 + 4 * seed,
        num_hidden_layers=1 + seed % 3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim * (1, 2)[seed % 2],
        num_local_experts=n_experts,
        num_experts_per_tok=min(1 + seed % 3, n_experts),
        sliding_window=(None, 4)[seed % 2],
        rms_norm_eps=(1e-5, 1e-3)[seed % 2],
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": (1e6, 1e4)[seed % 2]},
        tie_word_embeddings=seed % 2 == 1,
        bos_token_id=tiny.BYTES.vocab.bos,
        eos_token_id=tiny.BYTES.vocab.eos,
        **fields,
    )
    model = MixtralForCausalLM(config)
    model.set_experts_implementation("eager")  # the only one that supports float64
    return model


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parity.neutralise(monkeypatch, modeling_mixtral)  # before it computes its frequencies
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.assert_same(read_model(tmp_path), theirs, 1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_round_trip_preserves_the_model(seed: int, tmp_path: Path) -> None:
    parity.save_model(model(seed), tmp_path / "theirs")
    parity.assert_round_trip(read_model(tmp_path / "theirs"), tmp_path)


@pytest.mark.parametrize(
    ("knob", "value", "fits"),
    [
        ("balance_loss", 0.5, True),
        ("z_loss", 0.5, True),
        ("n_experts", 4, True),
        ("bias_rate", 1e-3, False),
        ("n_shared", 1, False),
        ("normalise", False, False),
    ],
)
def test_the_preset_is_a_mixtral_unless_the_format_lacks_a_knob(
    knob: str, value: float, fits: bool
) -> None:
    config: Any = parity.preset("mixtral")
    setattr(config.mlp, knob, value)
    found = find_layout(config, tiny.VOCAB)
    assert (found is not None and found[1]["model_type"] == "mixtral") == fits


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"hidden_act": "gelu"}, "hidden_act='gelu'"), ({"router_jitter_noise": 0.1}, "noise=0.1")],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, Any], named: str, tmp_path: Path
) -> None:
    parity.save_model(model(0, **fields), tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
