import json
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from etude.config.registry import build
from etude.config.schema.plugins import TokenizerConfig, TrainedTokenizerConfig
from etude.data.tokenizer import ROLES, SPECIAL_TOKENS, Tokenizer
from etude.errors import CheckpointError
from etude.plugins.tokenizer.bpe import BpeConfig
from etude.plugins.tokenizer.byte import ByteConfig
from etude.plugins.tokenizer.unigram import UnigramConfig
from etude.plugins.tokenizer.wordpiece import WordpieceConfig

TRAINING = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.\n",
    "def quick(fox: int) -> int:\n    return fox * 2\n",
    "语言模型是一种概率模型。它给出一个词序列的概率。模型很快。\n",
] * 20
LOSSLESS = [ByteConfig(), BpeConfig(vocab_size=500), UnigramConfig(vocab_size=500)]
EVERY = [*LOSSLESS, WordpieceConfig(vocab_size=400)]
texts = (
    st.text()
    | st.text(alphabet=st.sampled_from("<>_ \n\tabpdeos0语言é😀"))
    | st.sampled_from(TRAINING)
)


def name(config: TokenizerConfig) -> str:
    return type(config).__name__


def corpus() -> Iterator[str]:
    return iter(TRAINING)


@cache
def _trained(kind: str) -> Tokenizer:
    return build(next(config for config in EVERY if name(config) == kind)).build(corpus)


def trained(config: TokenizerConfig) -> Tokenizer:
    return _trained(name(config))


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_the_special_tokens_are_the_first_ids(config: TokenizerConfig) -> None:
    vocab = trained(config).vocab
    assert trained(config).pieces(range(len(SPECIAL_TOKENS))) == list(SPECIAL_TOKENS)
    assert [getattr(vocab, role) for role in ROLES] == list(range(len(ROLES)))
    assert vocab.sentinels == tuple(range(len(ROLES), len(SPECIAL_TOKENS)))
    assert len(vocab.special) == len(SPECIAL_TOKENS) == 109


@pytest.mark.parametrize("config", EVERY[1:], ids=name)
def test_vocab_size_is_the_total_and_never_exceeded(config: TokenizerConfig) -> None:
    assert isinstance(config, TrainedTokenizerConfig)
    assert 109 < trained(config).vocab.size <= config.vocab_size


@pytest.mark.parametrize("config", EVERY[1:], ids=name)
def test_a_vocabulary_too_small_is_refused_with_the_smallest_that_works(
    config: TokenizerConfig,
) -> None:
    with pytest.raises(ValueError, match=r"vocab_size must be at least \d+") as refused:
        type(config)(vocab_size=10)  # pyright: ignore[reportCallIssue]
    smallest = int(str(refused.value).split("at least ")[1].split()[0])
    tokenizer = build(type(config)(vocab_size=smallest)).build(corpus)  # pyright: ignore[reportCallIssue]
    assert tokenizer.vocab.size <= smallest


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_every_text_comes_back_as_it_was(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not (ids == tokenizer.vocab.unk).any()


@pytest.mark.parametrize("config", EVERY, ids=name)
@given(text=texts, special=st.lists(st.sampled_from(SPECIAL_TOKENS), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_text_that_spells_a_special_token_is_only_text(
    config: TokenizerConfig, text: str, special: list[str]
) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text.join(["", *special, ""]))
    assert not set(ids.tolist()) & (tokenizer.vocab.special - {tokenizer.vocab.unk})


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@pytest.mark.parametrize("special", SPECIAL_TOKENS[:12])
def test_a_special_token_spelled_in_a_text_comes_back_as_text(
    config: TokenizerConfig, special: str
) -> None:
    tokenizer = trained(config)
    text = f" a{special} {special}语{special}{special}"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids.tolist()) & tokenizer.vocab.special


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_training_twice_gives_the_same_tokenizer(config: TokenizerConfig) -> None:
    again: Tokenizer = build(config).build(corpus)
    assert again.digest == trained(config).digest


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_saved_and_pickled_tokenizers_are_the_same(config: TokenizerConfig, tmp_path: Path) -> None:
    tokenizer = trained(config)
    tokenizer.save(tmp_path)
    spelled = "a <pad> b"
    for copy in (Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.digest == tokenizer.digest
        assert copy.vocab == tokenizer.vocab
        assert np.array_equal(copy.encode(spelled), tokenizer.encode(spelled))


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_transformers_loads_what_is_saved_with_equal_ids_and_roles(
    config: TokenizerConfig, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = trained(config)
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    for text in (*TRAINING[:3], "unseen: Ünïcödé 漢字 😀\t\0 "):
        ids = tokenizer.encode(text).tolist()
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)
    for role in ("pad", "unk", "bos", "eos", "mask", "cls", "sep"):
        assert getattr(theirs, f"{role}_token_id") == getattr(tokenizer.vocab, role)
    assert theirs.convert_tokens_to_ids(theirs.turn_start_token) == tokenizer.vocab.turn_start


def test_special_tokens_have_no_text() -> None:
    tokenizer = trained(ByteConfig())
    vocab = tokenizer.vocab
    ids = [vocab.bos, *tokenizer.encode("a"), vocab.sentinels[3], *tokenizer.encode("b"), vocab.eos]
    assert tokenizer.decode(ids) == "ab"
    assert tokenizer.pieces(ids) == ["<bos>", "a", "<sentinel_3>", "b", "<eos>"]


def spelled(tokenizer: Tokenizer, ids: np.ndarray, groups: np.ndarray) -> list[str]:
    """The text of each group of ids, in order; group 0 is left out."""
    return [
        b"".join(tokenizer.token_bytes[i] for i in ids[groups == group]).decode()
        for group in range(1, groups.max(initial=0) + 1)
    ]


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_the_bytes_of_the_ids_are_those_of_the_text(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    assert b"".join(tokenizer.token_bytes[i] for i in tokenizer.encode(text)) == text.encode()


def test_the_ids_of_text_and_the_special_ones_are_all_there_are() -> None:
    tokenizer = trained(BpeConfig(vocab_size=500))
    every = {*tokenizer.text_ids.tolist(), *tokenizer.vocab.special}
    assert every == set(range(tokenizer.vocab.size))
    assert len(tokenizer.text_ids) + len(tokenizer.vocab.special) == tokenizer.vocab.size
    assert {tokenizer.token_bytes[i] for i in tokenizer.vocab.special} == {b""}


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_words_are_set_apart_by_spaces_and_chinese_characters_are_words(
    config: TokenizerConfig,
) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode("The quick fox jumps 语言模")
    found = spelled(tokenizer, ids, tokenizer.words(ids))
    bare = [word.strip() for word in found if word.strip()]
    together = [character for word in bare for character in (word if word > "z" else [word])]
    assert together[:4] == ["The", "quick", "fox", "jumps"]
    assert together[4:] == ["语", "言", "模"]  # a piece of several characters stays whole
    assert config != ByteConfig() or [word.strip() for word in bare] == together


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_special_ids_are_in_no_word_and_end_the_word_before(config: TokenizerConfig) -> None:
    tokenizer = trained(config)
    vocab = tokenizer.vocab
    inner = tokenizer.encode("fox")[-1:]  # continues a word, where there is one to continue
    ids = np.array([vocab.bos, *inner, *inner, vocab.eos, vocab.bos, *inner])
    assert tokenizer.words(ids)[[0, 1, 3, 4]].tolist() == [0, 1, 0, 0]
    assert tokenizer.words(ids)[5] == tokenizer.words(ids)[2] + 1
    assert tokenizer.words(ids[:0]).tolist() == []
    assert tokenizer.words(ids[[0, 3]]).tolist() == [0, 0]


SENTENCES = [
    "It is 3.14. ".rstrip(),
    ' He said: "So?"',
    " Then\n",
    "他来了。",
    "她问：“是吗？”",
    "a line!\n\n",
    "语言",
]


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
def test_sentences_end_at_stops_closing_quotes_and_line_breaks(config: TokenizerConfig) -> None:
    tokenizer = trained(config)
    ids = np.concatenate([tokenizer.encode(sentence) for sentence in SENTENCES])
    parts = np.split(ids, tokenizer.sentence_ends(ids)[:-1])
    assert [tokenizer.decode(part) for part in parts] == SENTENCES
    assert tokenizer.sentence_ends(ids[:0]).tolist() == []


@pytest.mark.parametrize("config", EVERY, ids=name)
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_every_id_is_in_one_sentence(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text)
    ends = tokenizer.sentence_ends(ids)
    assert (np.diff(ends, prepend=0) > 0).all()
    assert ends[-1:].tolist() == [len(ids)][: len(ids)]


def test_pieces_of_sentencepiece_and_bytes_it_falls_back_to_are_known() -> None:
    vocabulary = [("<unk>", 0.0), ("▁the", -1.0), ("re", -1.0), ("é", -1.0), ("语言", -1.0)]
    vocabulary += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    inner = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(parts)
    tokenizer = Tokenizer(inner)
    ids = tokenizer.encode("there the语言模é")
    assert spelled(tokenizer, ids, tokenizer.words(ids)) == [" there", " the", "语言", "模é"]


def test_a_model_that_finds_special_tokens_in_text_is_kept_from_it() -> None:
    vocabulary = [("<unk>", 0.0), ("<pad>", 0.0), *((c, -1.0) for c in "▁<>adp")]
    inner = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    inner.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer = Tokenizer(inner)
    assert "<pad>" in inner.encode("a<pad>d").tokens
    assert tokenizer.pieces(tokenizer.encode("a<pad>d")) == list("a<pad>d")


def test_roles_are_read_from_hugging_face_files_and_missing_ones_appended(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    inner = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.enable_truncation(1)
    inner.save(str(tmp_path / "tokenizer.json"))
    roles = {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]"}, "cls_token": "[CLS]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(roles))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"sep_token": "[SEP]"}))
    tokenizer = Tokenizer.load(tmp_path)
    vocab = tokenizer.vocab
    assert (vocab.pad, vocab.unk, vocab.cls, vocab.sep) == (0, 1, 2, 3)
    assert (vocab.bos, vocab.eos) == (2, 3), "a text begins and ends as BERT's do"
    assert sorted(vocab.special - {0, 1, 2, 3}) == list(range(len(words), vocab.size))
    assert tokenizer.encode("a b a").tolist() == [5, 6, 5]
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").vocab == vocab


@pytest.mark.parametrize("content", [None, "{", "{}", '{"version": "1.0"}'])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)
