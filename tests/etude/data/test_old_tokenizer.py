"""Folders without a tokenizer.json are read as transformers reads them, or refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer as Inner
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError

TEXT = "the capital of italy is rome and the capital of france is paris"
SPM = {"vocab_size": 320, "hard_vocab_limit": False, "minloglevel": 2}


def write_wordpiece(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "capital", "of", "ita", "##ly"]
    (folder / "vocab.txt").write_text("\n".join(words))


def write_bpe(folder: Path, *specials: str) -> None:
    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[*specials], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([TEXT], trainer)
    inner.model.save(str(folder))


def write_sentencepiece(folder: Path, name: str, **options: Any) -> None:
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter([TEXT] * 20), model_prefix=str(folder / name), **SPM, **options
    )
    (folder / f"{name}.vocab").unlink()


def write(family: str, folder: Path) -> None:
    """Writes the vocabulary files of a family and a config.json, as in its first checkpoints."""
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    match family:
        case "bert":
            write_wordpiece(folder)
        case "gpt2":
            write_bpe(folder, "<|endoftext|>")
        case "roberta":
            write_bpe(folder, "<s>", "<pad>", "</s>", "<unk>", "<mask>")
        case "llama":
            write_sentencepiece(folder, "tokenizer", model_type="bpe", byte_fallback=True)
        case "t5":
            ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
            write_sentencepiece(folder, "spiece", **ids)
        case _:
            ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}
            pieces = {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "user_defined_symbols": "[MASK]"}
            write_sentencepiece(folder, "spiece", **ids, **pieces)


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta", "llama", "t5", "albert"])
def test_a_vocabulary_without_tokenizer_json_is_read_as_by_transformers(
    family: str, tmp_path: Path
) -> None:
    write(family, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer.load(tmp_path)
    vocab = ours.vocab
    for text in (TEXT, "the capital, of  Italy"):
        ids = [*vocab.opening, *ours.encode(text).tolist(), *vocab.closing]
        assert ids == theirs(text)["input_ids"]
    for role in ("bos", "eos", "unk", "mask", "cls", "sep"):
        wanted = getattr(theirs, f"{role}_token_id")
        if wanted is not None:
            assert getattr(vocab, role) == wanted, role
    assert vocab.size == len(theirs)


@pytest.mark.slow
def test_without_transformers_the_way_out_is_named(tmp_path: Path) -> None:
    write("bert", tmp_path)
    script = (
        "import sys, importlib.util as util; found = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'transformers' else found(name)\n"
        "from etude.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "data", "tokenizer=pretrained"]
    command += [f"tokenizer.path={tmp_path}", "data=arithmetic", "objective=grpo"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "vocab.txt" in ended.stderr
    assert "pip install 'etude[transformers]'" in ended.stderr


def test_a_folder_that_transformers_cannot_convert_is_named(tmp_path: Path) -> None:
    write_wordpiece(tmp_path)
    with pytest.raises(CheckpointError, match=r"(?s)vocab\.txt in .*model_type"):
        Tokenizer.load(tmp_path)
