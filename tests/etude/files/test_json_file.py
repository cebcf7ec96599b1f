"""A file of any content is read, or is an error that names it; never a traceback."""

import json
import re
from pathlib import Path
from typing import Any

import chains
import pytest
from damages import malformed
from rooms import ROOT, core_files

from etude.errors import CheckpointError, ConfigError, page
from etude.files.json_file import read_json, read_signed, write_signed
from etude.formats.model import read_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chains.llama(tmp_path_factory.mktemp("llama") / "base")


def outcome(folder: Path) -> str | None:
    """The error with which a model is refused; None if it is read. Others are not caught."""
    try:
        read_model(folder).network()
    except (CheckpointError, ConfigError) as error:
        return page(error)
    return None


def check_malformed(folder: Path, file: Path, every: int = 1) -> int:
    """Replaces a file by malformed ones; returns how many of them are refused."""
    whole = file.read_bytes()
    good: dict[str, Any] = json.loads(whole)
    n_refused = 0
    for number, content in enumerate(malformed(good, every)):
        file.write_bytes(content)
        if refusal := outcome(folder):
            n_refused += 1
            assert len(refusal) < 3000, refusal[:200]
            assert len(refusal.splitlines()) <= 25
        assert refusal or number >= 8  # no JSON object is read as one
    file.write_bytes(whole)
    return n_refused


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_malformed_file_of_a_model_folder_is_an_error_or_read(name: str, base: Path) -> None:
    assert check_malformed(base, base / name, every=23) >= 8
    assert outcome(base) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "tokenizer.json", "generation_config.json"]
)
def test_every_malformed_file_of_a_model_folder_is_an_error_or_read(name: str, base: Path) -> None:
    if not (base / name).exists():
        (base / name).write_text('{"eos_token_id": 2}')
    assert check_malformed(base, base / name) >= 8
    assert outcome(base) is None


def test_weights_that_are_no_tensors_or_of_another_shape_are_refused(
    base: Path, tmp_path: Path
) -> None:
    file = base / "model.safetensors"
    whole = file.read_bytes()
    for content in (b"", b"x" * 100, b"\xff" * 8 + b"{}", whole[:-1], whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert "model.safetensors" in str(outcome(base))
    file.unlink()
    file.mkdir()
    assert "model.safetensors" in str(outcome(base))
    file.rmdir()
    for weight_map in ([], 7, {"a": 3}, {"a": "../../etc/passwd"}, {"a": None}, {}):
        index = base / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))
        assert outcome(base) is not None
        index.unlink()
    file.write_bytes(whole)
    assert outcome(base) is None


def test_a_signed_file_is_exactly_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    content = {"a": [1, 2.5, None, "é\u2028"], "b": {"c": float("inf")}}
    write_signed(file, content)
    assert read_signed(file) == content
    whole = file.read_bytes()
    for place in range(0, 8 * len(whole), 7):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"a\.json"):
            read_signed(file)
    file.write_bytes(whole + b" ")
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        read_signed(file)


@pytest.mark.parametrize("content", [*malformed({})], ids=range(9))
def test_only_an_object_is_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    if content == b'{"a": NaN}':
        assert "a" in read_json(file)
        return
    with pytest.raises(CheckpointError, match=r"a\.json cannot be read: ") as refusal:
        read_json(file)
    assert len(str(refusal.value)) < 500


def test_json_files_are_read_in_one_place() -> None:
    reads = re.compile(r"json\.loads?\(.*read_(text|bytes|bounded)")
    places = [*core_files(), *(ROOT / "plugins").rglob("*.py")]
    found = {file.name for file in places if reads.search(file.read_text(encoding="utf-8"))}
    assert found == {"json_file.py", "state_tree.py"}  # a state may be any value
