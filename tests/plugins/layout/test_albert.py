from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
from transformers import AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining, AutoModelForMaskedLM
from transformers.models.albert import modeling_albert

from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model


def model(seed: int, **fields: Any) -> AlbertForMaskedLM:
    heads, n_layers = (1, 2, 4, 3)[seed % 4], 1 + seed % 4
    dim = heads * (4, 8, 6)[seed % 3]
    values: dict[str, Any] = {
        "num_hidden_groups": (1, n_layers, max(1, n_layers - 1))[seed % 3],
        "hidden_act": ("gelu_new", "gelu")[seed % 2],
    }
    config = AlbertConfig(
        vocab_size=tiny.BYTES.vocab.size,
        hidden_size=dim,
        embedding_size=(5, dim, 2 * dim)[seed % 3],
        num_hidden_layers=n_layers,
        num_attention_heads=heads,
        intermediate_size=20 + seed,
        max_position_embeddings=64 + seed,
        type_vocab_size=1 + seed % 3,
        layer_norm_eps=(1e-12, 1e-5, 1e-3)[seed % 3],
        pad_token_id=tiny.BYTES.vocab.pad,
        bos_token_id=tiny.BYTES.vocab.bos,
        eos_token_id=tiny.BYTES.vocab.eos,
        **(values | fields),
    )
    return AlbertForMaskedLM(config)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(seed), tmp_path)
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-5)


@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(seed), tmp_path).double()
    parity.neutralise(monkeypatch, modeling_albert)
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-10)


@pytest.mark.parametrize("seed", [0, 2, 7])
def test_a_round_trip_preserves_the_model(seed: int, tmp_path: Path) -> None:
    parity.save_model(model(seed), tmp_path / "theirs")
    found = read_model(tmp_path / "theirs")
    parity.assert_round_trip(found, tmp_path, AutoModelForMaskedLM)


def test_the_preset_has_the_layout_of_its_family() -> None:
    found = find_layout(parity.preset("albert"), tiny.BYTES.vocab)
    assert found is not None
    assert found[1]["model_type"] == "albert"


def test_other_pretraining_heads_are_ignored(tmp_path: Path) -> None:
    parity.save_model(AlbertForPreTraining(model(1).config), tmp_path)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-5)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"inner_group_num": 2}, "inner_group_num=2"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"num_hidden_layers": 18, "num_hidden_groups": 14}, "num_hidden_groups=14"),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    fields: dict[str, object], named: str, tmp_path: Path
) -> None:
    theirs = model(0)
    for name, value in fields.items():
        setattr(theirs.config, name, value)
    parity.save_model(theirs, tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
