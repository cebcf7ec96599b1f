import unicodedata
from random import Random
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers

from etude.config.registry import build
from etude.data import tiktoken_encoder as tiktoken_encoder_module
from etude.data.byte_alphabet import BYTE_ALPHABET
from etude.data.encodings import BULK_CHARS, BatchEncoder, encodings
from etude.data.tiktoken_encoder import MAX_CHARS, Encode, tiktoken_encoder
from etude.plugins.data.python_docs import PythonDocsConfig
from etude.records import Text

DOCS = [row.text for row in build(PythonDocsConfig()).records() if isinstance(row, Text)]
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), WORDS])
NEW_DIGIT = "\U00011de0"
"""A digit of Unicode 17."""


def trained(split: pre_tokenizers.PreTokenizer) -> tokenizers.Tokenizer:
    """A tokenizer whose merges also join spaces, digits, Chinese characters and quotes."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = split
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<eos>"], initial_alphabet=list(BYTE_ALPHABET)
    )
    extra = ["   \n\n  x's 't don't 1234 5 数字和文字,标点。 é è ½ ² \u3000\xa0"] * 200
    inner.train_from_iterator([*DOCS[:300], *extra], trainer)
    inner.encode_special_tokens = True
    return inner


def fast_and_slow(split: pre_tokenizers.PreTokenizer) -> tuple[Encode, tokenizers.Tokenizer]:
    inner = trained(split)
    fast = tiktoken_encoder(inner)
    assert fast is not None
    return fast, inner


PAIRS = [fast_and_slow(WORDS), fast_and_slow(DIGITS)]
CHARACTERS = [i for i in range(0x1F000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
mixed = st.text(
    st.sampled_from("ab's t\n\r\t\x0b\x85\u2028 \u30001²½五,。é\u0301<eos>ſK'")
    | st.characters(exclude_categories=["Cs"])
)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(mixed, min_size=1, max_size=20))
@pytest.mark.parametrize("pair", PAIRS)
def test_the_ids_are_those_of_tokenizers(
    pair: tuple[Encode, tokenizers.Tokenizer], texts: list[str]
) -> None:
    fast, slow = pair
    for text, expected in zip(texts, encodings(slow, texts), strict=True):
        found = fast(text)
        assert found is None or np.array_equal(found, expected), text


@settings(max_examples=150, deadline=None)
@given(words=st.lists(mixed, max_size=20), size=st.integers(2, 9))
@pytest.mark.parametrize("pair", PAIRS)
def test_the_ids_of_a_long_text_are_those_of_its_pieces(
    pair: tuple[Encode, tokenizers.Tokenizer], words: list[str], size: int
) -> None:
    fast, slow = pair
    text = " ".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiktoken_encoder_module, "MAX_CHARS", size)
        found = fast(text)
    assert found is None or np.array_equal(found, encodings(slow, [text])[0]), text


def test_long_text_is_not_left_out() -> None:
    fast, slow = PAIRS[0]
    text = " \n\n ".join([*DOCS, "数字和文字 1 2"] * 3)[: 3 * MAX_CHARS]
    assert len(text) > 2 * MAX_CHARS
    found = fast(text)
    assert found is not None
    assert np.array_equal(found, encodings(slow, [text])[0])


@pytest.mark.parametrize("pair", PAIRS)
def test_the_ids_are_those_of_tokenizers_for_a_sample_of_all_characters(
    pair: tuple[Encode, tokenizers.Tokenizer],
) -> None:
    fast, slow = pair
    for i in Random(0).sample(CHARACTERS, 600):
        texts = [form.replace("#", chr(i)) for form in ("a#1", "  #a", "1# ", "#'s #", " #\n")]
        for text, expected in zip(texts, encodings(slow, texts), strict=True):
            found = fast(text)
            assert found is not None
            assert np.array_equal(found, expected), (hex(i), text)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_ids_are_those_of_tokenizers_for_real_text(
    pair: tuple[Encode, tokenizers.Tokenizer],
) -> None:
    fast, slow = pair
    texts = DOCS[300:900]
    for text, expected in zip(texts, encodings(slow, texts), strict=True):
        found = fast(text)
        assert found is not None
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("text", [NEW_DIGIT, "a" * (MAX_CHARS + 1)])
def test_a_text_that_might_be_split_differently_is_left_out_and_encoded_by_tokenizers(
    text: str,
) -> None:
    fast, slow = PAIRS[1]
    assert fast(text) is None
    texts = ["first", text, "x" * BULK_CHARS, text, "last"]
    assert all(map(np.array_equal, BatchEncoder(slow)(texts), encodings(slow, texts)))


def test_a_tokenizer_that_tiktoken_cannot_imitate_is_refused() -> None:
    def with_normalizer(inner: tokenizers.Tokenizer) -> None:
        inner.normalizer = normalizers.NFC()

    def with_prefix_space(inner: tokenizers.Tokenizer) -> None:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)

    def with_other_words(inner: tokenizers.Tokenizer) -> None:
        inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), WORDS])

    def with_added_word(inner: tokenizers.Tokenizer) -> None:
        inner.add_tokens([AddedToken("added")])

    def with_dropout(inner: tokenizers.Tokenizer) -> None:
        inner.model.dropout = 0.5

    def without_a_merge_of_its_own(inner: tokenizers.Tokenizer) -> None:
        bpe: dict[str, Any] = {c: i for i, c in enumerate(BYTE_ALPHABET)}
        for piece in ("bc", "ab", "abc"):
            bpe[piece] = len(bpe)
        inner.model = models.BPE(bpe, [("b", "c"), ("a", "b"), ("ab", "c")])  # a+bc is no merge

    changes = (with_normalizer, with_prefix_space, with_other_words, with_added_word)
    for change in (*changes, with_dropout, without_a_merge_of_its_own):
        inner = tokenizers.Tokenizer.from_str(PAIRS[0][1].to_str())
        assert tiktoken_encoder(inner) is not None
        change(inner)
        assert tiktoken_encoder(inner) is None, change
