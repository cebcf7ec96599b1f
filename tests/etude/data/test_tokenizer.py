import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors

from etude.config.registry import build
from etude.config.schema.plugins import TokenizerConfig, TrainedTokenizerConfig
from etude.data.special_tokens import ROLES, SPECIAL_TOKENS
from etude.data.tokenizer import Tokenizer
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
def _train(kind: str) -> Tokenizer:
    return build(next(config for config in EVERY if name(config) == kind)).build(corpus)


def trained(config: TokenizerConfig) -> Tokenizer:
    return _train(name(config))


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_the_special_tokens_are_the_first_ids(config: TokenizerConfig) -> None:
    vocab = trained(config).vocab
    assert trained(config).pieces(range(len(SPECIAL_TOKENS))) == list(SPECIAL_TOKENS)
    assert [getattr(vocab, role) for role in ROLES] == list(range(len(ROLES)))
    assert vocab.sentinels == tuple(range(len(ROLES), len(SPECIAL_TOKENS)))
    assert len(vocab.special) == len(SPECIAL_TOKENS) == 109


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_more_sentinels_can_be_reserved(config: Any) -> None:
    vocab = build(replace(config, n_sentinels=150)).build(corpus).vocab
    assert vocab.sentinels == tuple(range(len(ROLES), len(ROLES) + 150))
    assert vocab.size <= getattr(config, "vocab_size", 150 + len(ROLES) + 256)
    with pytest.raises(ValueError, match="n_sentinels must be 100 to 1,048,576, got 99"):
        replace(config, n_sentinels=99)


@pytest.mark.parametrize("config", EVERY[1:], ids=name)
def test_vocab_size_is_never_exceeded(config: TokenizerConfig) -> None:
    assert isinstance(config, TrainedTokenizerConfig)
    assert 109 < trained(config).vocab.size <= config.vocab_size


@pytest.mark.parametrize("config", EVERY[1:], ids=name)
def test_a_vocab_size_that_is_too_small_is_rejected_with_the_minimum(
    config: TokenizerConfig,
) -> None:
    with pytest.raises(ValueError, match=r"vocab_size must be at least \d+") as raised:
        type(config)(vocab_size=10)  # pyright: ignore[reportCallIssue]
    smallest = int(str(raised.value).split("at least ")[1].split()[0])
    tokenizer = build(type(config)(vocab_size=smallest)).build(corpus)  # pyright: ignore[reportCallIssue]
    assert tokenizer.vocab.size <= smallest


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_decoding_an_encoded_text_gives_the_text(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not (ids == tokenizer.vocab.unk).any()


@pytest.mark.parametrize("config", EVERY, ids=name)
@given(text=texts, special=st.lists(st.sampled_from(SPECIAL_TOKENS), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_the_text_of_a_special_token_is_never_encoded_as_a_special_id(
    config: TokenizerConfig, text: str, special: list[str]
) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text.join(["", *special, ""]))
    assert not set(ids.tolist()) & (tokenizer.vocab.special - {tokenizer.vocab.unk})


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@pytest.mark.parametrize("special", SPECIAL_TOKENS[:12])
def test_the_text_of_a_special_token_is_encoded_and_decoded_as_text(
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
    text = "a <pad> b"
    for copy in (Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.digest == tokenizer.digest
        assert copy.vocab == tokenizer.vocab
        assert np.array_equal(copy.encode(text), tokenizer.encode(text))


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
        assert theirs(text)["input_ids"] == tokenizer.vocab.prompt(ids)
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


def texts_by_group(tokenizer: Tokenizer, ids: np.ndarray, groups: np.ndarray) -> list[str]:
    """The text of each group of ids, in order; group 0 is left out."""
    return [
        b"".join(tokenizer.token_bytes[i] for i in ids[groups == group]).decode()
        for group in range(1, groups.max(initial=0) + 1)
    ]


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_the_bytes_of_the_ids_concatenate_to_the_text(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    assert b"".join(tokenizer.token_bytes[i] for i in tokenizer.encode(text)) == text.encode()


@pytest.mark.parametrize("config", LOSSLESS, ids=name)
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_the_offsets_of_the_ids_cover_the_text_in_order(config: TokenizerConfig, text: str) -> None:
    made = trained(config)
    ids, offsets = made.encode(text), made.offsets(text)
    assert len(offsets) == len(ids)
    assert (np.diff(offsets, axis=0) >= 0).all()
    covered = {i for start, end in offsets.tolist() for i in range(start, end)}
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered
    for piece, (start, end) in zip(made.pieces(ids), offsets, strict=True):
        assert "\N{REPLACEMENT CHARACTER}" in piece or piece.strip() == text[start:end]


def test_offsets_are_those_of_the_text_before_it_is_normalised() -> None:
    made = trained(EVERY[-1])
    text = "  Fox é，语言<bos>"
    parts = [text[start:end] for start, end in made.offsets(text)]
    assert "".join(parts) == "".join(text.split())


def test_every_id_is_either_text_or_special() -> None:
    tokenizer = trained(BpeConfig(vocab_size=500))
    every = {*tokenizer.text_ids.tolist(), *tokenizer.vocab.special}
    assert every == set(range(tokenizer.vocab.size))
    assert len(tokenizer.text_ids) + len(tokenizer.vocab.special) == tokenizer.vocab.size
    assert {tokenizer.token_bytes[i] for i in tokenizer.vocab.special} == {b""}


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_words_are_separated_by_spaces_and_chinese_characters_are_words(
    config: TokenizerConfig,
) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode("The quick fox jumps 语言模")
    found = texts_by_group(tokenizer, ids, tokenizer.words(ids))
    bare = [word.strip() for word in found if word.strip()]
    together = [character for word in bare for character in (word if word > "z" else [word])]
    assert together[:4] == ["The", "quick", "fox", "jumps"]
    assert together[4:] == ["语", "言", "模"]  # a piece of several characters stays whole
    assert config != ByteConfig() or [word.strip() for word in bare] == together


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_special_ids_belong_to_no_word_and_end_the_preceding_word(config: TokenizerConfig) -> None:
    tokenizer = trained(config)
    vocab = tokenizer.vocab
    inner = tokenizer.encode("fox")[-1:]  # continues a word if one precedes it
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
def test_every_id_is_in_exactly_one_sentence(config: TokenizerConfig, text: str) -> None:
    tokenizer = trained(config)
    ids = tokenizer.encode(text)
    ends = tokenizer.sentence_ends(ids)
    assert (np.diff(ends, prepend=0) > 0).all()
    assert ends[-1:].tolist() == [len(ids)][: len(ids)]


def test_pieces_and_fallback_bytes_of_sentencepiece_are_converted_to_bytes() -> None:
    vocabulary = [("<unk>", 0.0), ("▁the", -1.0), ("re", -1.0), ("é", -1.0), ("语言", -1.0)]
    vocabulary += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    inner = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(parts)
    tokenizer = Tokenizer(inner)
    ids = tokenizer.encode("there the语言模é")
    assert texts_by_group(tokenizer, ids, tokenizer.words(ids)) == [" there", " the", "语言", "模é"]


def test_a_model_that_matches_special_tokens_in_text_does_not_produce_them() -> None:
    vocabulary = [("<unk>", 0.0), ("<pad>", 0.0), *((c, -1.0) for c in "▁<>adp")]
    inner = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    inner.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer = Tokenizer(inner)
    assert "<pad>" in inner.encode("a<pad>d").tokens
    assert tokenizer.pieces(tokenizer.encode("a<pad>d")) == list("a<pad>d")


def save_words(folder: Path, words: Sequence[str], **config: object) -> tokenizers.Tokenizer:
    """Saves a tokenizer of whole words, with a tokenizer_config.json."""
    inner = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, words[0]))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(exist_ok=True)
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return inner


def test_roles_are_read_from_hugging_face_files_and_none_is_invented(tmp_path: Path) -> None:
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    save_words(tmp_path, words, sep_token="[SEP]", mask_token=None)
    roles = {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]"}, "cls_token": "[CLS]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(roles))
    tokenizer = Tokenizer.load(tmp_path)
    vocab = tokenizer.vocab
    assert (vocab.unk, vocab.pad, vocab.cls, vocab.sep) == (0, 1, 2, 3)
    assert (vocab.bos, vocab.eos) == (2, 3), "cls and sep are used as bos and eos, as in BERT"
    assert vocab.special == {0, 1, 2, 3}
    assert vocab.size == len(words)
    assert tokenizer.encode("a b a").tolist() == [5, 6, 5]
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").vocab == vocab


def test_roles_that_no_file_names_are_those_of_the_models_config_or_the_usual_tokens(
    tmp_path: Path,
) -> None:
    save_words(tmp_path, ["<unk>", "<|endoftext|>", "[MASK]", "a"])
    (tmp_path / "config.json").write_text('{"bos_token_id": 1, "eos_token_id": [1, 3]}')
    vocab = Tokenizer.load(tmp_path).vocab
    assert (vocab.unk, vocab.bos, vocab.eos, vocab.mask) == (0, 1, 1, 2)
    assert vocab.pad == vocab.eos, "padding has no effect, so it needs no id"
    assert vocab.size == 4


def test_a_role_is_added_when_it_is_needed(tmp_path: Path) -> None:
    save_words(tmp_path, ["<unk>", "</s>", "a"])
    plain = Tokenizer.load(tmp_path)
    assert plain.with_tokens({"eos"}) is plain
    found = plain.with_tokens({"mask", "sentinels"}).vocab
    assert (found.mask, found.sentinels) == (3, tuple(range(4, 104)))
    assert found.special == {0, 1, *range(3, 104)}


def test_tokens_that_only_the_configuration_names_have_transformers_ids(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True}
    added = {"__type": "AddedToken", **plain}
    listed = {"4": {"content": "b c", "special": False, **plain}, "3": {"content": "<x>", **plain}}
    every: list[dict[str, object]] = [
        {"pad_token": "<pad>", "mask_token": "<fill>", "eos_token": "</s>"},
        {"additional_special_tokens": ["<y>", "<z>"], "cls_token": {"content": "<c>", **added}},
        {"added_tokens_decoder": listed, "sep_token": "<sep>"},
    ]
    for i, config in enumerate(every):
        folder = tmp_path / str(i)
        save_words(folder, ["<unk>", "</s>", "a"], **config)
        theirs = AutoTokenizer.from_pretrained(folder)
        ours = Tokenizer.load(folder)
        for token, number in theirs.get_vocab().items():
            assert ours.encode_with_special(token).tolist() == [number], token
        assert ours.vocab.size == len(theirs)


def test_what_opens_and_closes_a_text_is_what_transformers_writes_around_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    words = ["<unk>", "<s>", "</s>", "a", "b"]
    for i, (around, opening, closing) in enumerate(
        [
            (None, (), ()),
            (("<s> $A", "<s>"), (1,), ()),
            (("$A </s>", "</s>"), (), (2,)),
            (("<s> $A </s>", "<s>", "</s>"), (1,), (2,)),
        ]
    ):
        folder = tmp_path / str(i)
        inner = save_words(folder, words, eos_token="</s>", unk_token="<unk>")
        if around is not None:
            special = [(one, words.index(one)) for one in around[1:]]
            inner.post_processor = processors.TemplateProcessing(around[0], None, special)
            inner.save(str(folder / "tokenizer.json"))
        found = Tokenizer.load(folder)
        found.save(folder / "again")
        for vocab in (found.vocab, Tokenizer.load(folder / "again").vocab):
            assert (vocab.opening, vocab.closing) == (opening, closing)
        assert AutoTokenizer.from_pretrained(folder)("a b")["input_ids"] == [
            *opening,
            3,
            4,
            *closing,
        ]


def test_what_the_models_config_says_of_tokens_survives_saving(tmp_path: Path) -> None:
    save_words(tmp_path, ["<unk>", "</s>", "<end>", "a"], eos_token="</s>")
    (tmp_path / "config.json").write_text('{"vocab_size": 9, "eos_token_id": 1}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    tokenizer = Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path / "again")
    for vocab in (tokenizer.vocab, Tokenizer.load(tmp_path / "again").vocab):
        assert (vocab.size, vocab.stops) == (9, (1, 2))


def test_a_token_keeps_the_space_that_it_absorbs(tmp_path: Path) -> None:
    inner = tokenizers.Tokenizer.from_str(trained(ByteConfig())._inner.to_str())
    inner.add_special_tokens([tokenizers.AddedToken("<fill>", lstrip=True, normalized=False)])
    inner.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": "<fill>"}')
    tokenizer = Tokenizer.load(tmp_path)
    wanted = [*tokenizer.encode("a"), tokenizer.vocab.mask, *tokenizer.encode(" b")]
    for text in ("a <fill> b", "a [MASK] b"):
        assert tokenizer.encode_with_mask(text).tolist() == wanted


@pytest.mark.parametrize("content", [None, "{", "{}", '{"version": "1.0"}'])
def test_a_missing_or_damaged_file_is_reported_by_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)
