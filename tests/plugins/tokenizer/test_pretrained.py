from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.config.registry import build
from etude.data.corpus import prepare
from etude.errors import CheckpointError
from etude.plugins.tokenizer.bpe import BpeConfig
from etude.plugins.tokenizer.pretrained import PretrainedConfig


def test_a_saved_tokenizer_is_loaded_unchanged(tmp_path: Path) -> None:
    trained = build(BpeConfig(vocab_size=400)).build(lambda: iter(["low lower lowest"] * 9))
    trained.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = build(PretrainedConfig(path=str(path))).build(lambda: iter(()))
        assert loaded.digest == trained.digest


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "chat_template.json", "vocab.json", "vocab.txt", "merges.txt",
        "spiece.model", "config.json", "generation_config.json",
    ],
)  # fmt: skip
def test_the_fingerprint_changes_with_every_file_that_shapes_it(name: str, tmp_path: Path) -> None:
    trained = build(BpeConfig(vocab_size=400)).build(lambda: iter(["low lower lowest"] * 9))
    trained.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        source = build(PretrainedConfig(path=str(path)))
        (tmp_path / name).write_text("{}")
        before = source.fingerprint()
        (tmp_path / "notes.md").write_text(str(path))
        assert source.fingerprint() == before
        (tmp_path / name).write_text('{"pad_token": "<eos>"}')
        assert source.fingerprint() != before


def test_an_edited_template_is_used_in_spite_of_the_cache(tmp_path: Path) -> None:
    tiny.BYTES.save(tmp_path / "theirs")
    config = tiny.experiment("sft", tmp_path, max_new_tokens=0)
    loads = tiny.part("tokenizer", "pretrained", path=str(tmp_path / "theirs"))
    for text in ("{{ messages[0].content }}", "{{ messages[-1].content }}"):
        (tmp_path / "theirs/chat_template.jinja").write_text(text)
        assert prepare(replace(config, tokenizer=loads)).tokenizer.template == text


def test_a_missing_tokenizer_is_reported_by_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        build(PretrainedConfig(path=str(tmp_path / "nowhere"))).build(lambda: iter(()))
