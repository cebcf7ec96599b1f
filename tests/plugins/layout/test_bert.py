import importlib
from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, PreTrainedModel

from etude.data.special_tokens import DEFAULT_ROLES, ROLES
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_files import TokenizerFiles
from etude.errors import ConfigError
from etude.formats.hugging_face import find_layout
from etude.formats.model import read_model

FAMILIES = ("Bert", "Roberta")
families = pytest.mark.parametrize("family", FAMILIES)


def model(family: str, seed: int, **fields: Any) -> PreTrainedModel:
    heads = (1, 2, 4, 3)[seed % 4]
    values = {
        "vocab_size": tiny.BYTES.vocab.size,
        "hidden_size": heads * (4, 8, 6)[seed % 3],
        "num_hidden_layers": 1 + seed % 3,
        "num_attention_heads": heads,
        "intermediate_size": 20 + seed,
        "max_position_embeddings": 64 + seed,
        "type_vocab_size": 1 + seed % 2 if family == "Roberta" else 2 + seed % 2,
        "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh")[seed % 3],
        "layer_norm_eps": (1e-12, 1e-5, 1e-3)[seed % 3],
        "pad_token_id": tiny.BYTES.vocab.pad,
        "bos_token_id": tiny.BYTES.vocab.bos,
        "eos_token_id": tiny.BYTES.vocab.eos,
    }
    config = getattr(transformers, f"{family}Config")(**(values | fields))
    return getattr(transformers, f"{family}ForMaskedLM")(config)


@families
@parity.shapes(20)
def test_agrees_with_transformers_in_fp32(family: str, seed: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model(family, seed), tmp_path)
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-5)


@families
@parity.shapes(20)
def test_agrees_with_transformers_in_fp64(
    family: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = parity.save_model(model(family, seed), tmp_path).double()
    name = family.lower()
    module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    parity.neutralise(monkeypatch, module)
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-10)


@families
@pytest.mark.parametrize("seed", [0, 1])
def test_a_round_trip_preserves_the_model(family: str, seed: int, tmp_path: Path) -> None:
    parity.save_model(model(family, seed), tmp_path / "theirs")
    found = read_model(tmp_path / "theirs")
    parity.assert_round_trip(found, tmp_path, AutoModelForMaskedLM)


@pytest.mark.parametrize("pad", [1, 7])
def test_the_positions_of_roberta_start_after_its_padding_id(pad: int, tmp_path: Path) -> None:
    theirs = parity.save_model(model("Roberta", 0, pad_token_id=pad), tmp_path)
    roles = DEFAULT_ROLES | {"pad": f"<{ROLES[pad]}>", ROLES[pad]: "<pad>"}
    Tokenizer(tiny.BYTES._inner, TokenizerFiles(roles)).save(tmp_path)
    found = read_model(tmp_path)
    assert found.tokenizer.vocab.pad == pad
    parity.assert_same_mask_filling(found, theirs, 1e-5)
    parity.assert_round_trip(found, tmp_path / "again", AutoModelForMaskedLM)


@families
def test_the_preset_has_the_layout_of_its_family(family: str) -> None:
    found = find_layout(parity.preset(family.lower()), tiny.BYTES.vocab)
    assert found is not None
    assert found[1]["model_type"] == family.lower()


def test_other_pretraining_heads_are_ignored(tmp_path: Path) -> None:
    """As in the published BERT: a pooler, a sentence-pair head and the old names of layer norms."""
    config: Any = model("Bert", 1).config
    parity.save_model(transformers.BertForPreTraining(config), tmp_path)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    file = tmp_path / "model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(file)
    for new, first in old.items():
        tensors = {name.replace(new, first): tensor for name, tensor in tensors.items()}
    assert any("pooler" in name for name in tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    parity.assert_same_mask_filling(read_model(tmp_path), theirs, 1e-5)


@families
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
    ],
)
def test_an_unsupported_field_is_rejected_by_name(
    family: str, fields: dict[str, object], named: str, tmp_path: Path
) -> None:
    theirs = model(family, 0)
    for name, value in fields.items():
        setattr(theirs.config, name, value)
    parity.save_model(theirs, tmp_path)
    with pytest.raises(ConfigError, match=named):
        read_model(tmp_path)
