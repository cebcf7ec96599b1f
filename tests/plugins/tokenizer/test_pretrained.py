from pathlib import Path

import pytest

from etude.config.registry import build
from etude.errors import CheckpointError
from etude.plugins.tokenizer.bpe import BpeConfig
from etude.plugins.tokenizer.pretrained import PretrainedConfig


def test_a_saved_tokenizer_is_loaded_unchanged(tmp_path: Path) -> None:
    trained = build(BpeConfig(vocab_size=400)).build(lambda: iter(["low lower lowest"] * 9))
    trained.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = build(PretrainedConfig(path=str(path))).build(lambda: iter(()))
        assert loaded.digest == trained.digest


def test_the_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    trained = build(BpeConfig(vocab_size=400)).build(lambda: iter(["low lower lowest"] * 9))
    trained.save(tmp_path)
    source = build(PretrainedConfig(path=str(tmp_path)))
    before = source.fingerprint()
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<eos>"}')
    assert source.fingerprint() != before


def test_a_missing_tokenizer_is_reported_by_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        build(PretrainedConfig(path=str(tmp_path / "nowhere"))).build(lambda: iter(()))
