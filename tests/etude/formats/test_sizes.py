"""No memory is allocated for sizes in a foreign config that its weights do not have."""

import json
import struct
from pathlib import Path
from typing import Any

import foreign
import peft_folders
import pytest

from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError
from etude.formats.model import read_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model folder of three families."""
    found: dict[str, Path] = {}
    for family in ("gpt2", "llama", "mixtral"):
        folder = tmp_path_factory.mktemp(family)
        roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        tokenizer = foreign.save_tokenizer(folder, [*roles.values()], **roles)
        foreign.save_model(folder, family, tokenizer)
        found[family] = folder
    return found


def changed(source: Path, folder: Path, **fields: Any) -> Path:
    """A copy of a model folder with other fields in its config.json."""
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("gpt2", "n_embd", 10**9),
        ("gpt2", "n_embd", 10**20),
        ("gpt2", "n_layer", 10**6),
        ("gpt2", "n_positions", 10**10),
        ("gpt2", "n_positions", 10**9),
        ("gpt2", "n_inner", 10**10),
        ("gpt2", "vocab_size", 10**12),
        ("llama", "intermediate_size", 10**10),
        ("llama", "num_hidden_layers", 1500),
        ("llama", "head_dim", 10**9),
        ("llama", "max_position_embeddings", 10**12),
        ("mixtral", "num_local_experts", 10**7),
    ],
)
def test_a_size_that_the_weights_do_not_have_is_refused_with_its_field(
    family: str, field: str, value: int, saved: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(saved[family], tmp_path, **{field: value})
    with pytest.raises(CheckpointError) as failure:
        read_model(folder)
    assert str(tmp_path / "config.json") in str(failure.value)
    assert f"{field}" in str(failure.value)
    assert str(value) in str(failure.value)


@pytest.mark.parametrize("value", ["16", [16], {"a": 1}, 16.0, True])
@pytest.mark.parametrize(("family", "field"), [("gpt2", "n_embd"), ("llama", "hidden_size")])
def test_a_size_that_is_no_integer_is_refused_with_its_field(
    family: str, field: str, value: Any, saved: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(saved[family], tmp_path, **{field: value})
    with pytest.raises(CheckpointError, match=r"config\.json") as failure:
        read_model(folder)
    assert f"{field}={value!r}" in str(failure.value)


def test_many_positions_are_fine_where_no_tensor_has_a_row_for_each(
    saved: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(saved["llama"], tmp_path, max_position_embeddings=10**7)
    assert read_model(folder).network() is not None


@pytest.mark.parametrize("length", [2**60, 2**40, 0])
def test_a_wrong_header_of_a_weight_file_is_refused(
    length: int, saved: dict[str, Path], tmp_path: Path
) -> None:
    file = changed(saved["gpt2"], tmp_path) / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "tokenizer_config.json"])
def test_a_file_that_should_be_small_is_not_read_if_it_is_huge(
    name: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    file = changed(saved["gpt2"], tmp_path) / name
    with file.open("wb") as opened:
        opened.truncate(10**12)  # it needs no space on the disk
    with pytest.raises(CheckpointError, match=f"{name}.*more than"):
        read_model(tmp_path)


def test_json_that_is_nested_too_deeply_is_damage(saved: dict[str, Path], tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        file = changed(saved["gpt2"], tmp_path) / name
        file.write_text("[" * 100_000)
        with pytest.raises(CheckpointError, match=name):
            read_model(tmp_path)


def test_an_id_far_beyond_the_number_of_tokens_is_refused(
    saved: dict[str, Path], tmp_path: Path
) -> None:
    file = changed(saved["gpt2"], tmp_path) / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"]["far"] = 4 * 10**9
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json.*4000000000"):
        Tokenizer.load(tmp_path)


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
def test_the_rank_of_an_adapter_is_that_of_its_tensors(tmp_path: Path) -> None:
    from peft import LoraConfig

    peft_folders.saved_adapter(
        "gpt2", tmp_path, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    )
    [file] = tmp_path.rglob("adapter_config.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"r": 10**9}))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json.*rank=1000000000"):
        read_model(file.parent)
