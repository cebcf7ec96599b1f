from collections.abc import Iterator

import pytest

from etude.config.registry import build
from etude.data.special_tokens import SPECIAL_TOKENS
from etude.plugins.tokenizer.bpe import BpeConfig


def corpus() -> Iterator[str]:
    return iter(["low lower lowest", "low low"] * 5)


def test_the_most_frequent_pair_is_merged_first() -> None:
    tokenizer = build(BpeConfig(vocab_size=len(SPECIAL_TOKENS) + 258)).build(corpus)
    assert tokenizer.pieces(tokenizer.encode("low")) == ["low"]
    assert tokenizer.pieces(tokenizer.encode("lot")) == ["lo", "t"]


def test_a_pair_below_min_frequency_is_not_merged() -> None:
    config = BpeConfig(vocab_size=1000, min_frequency=11)
    tokenizer = build(config).build(corpus)
    assert tokenizer.pieces(tokenizer.encode("lowest")) == ["low", "e", "s", "t"]
    assert tokenizer.vocab.size < 1000


def test_no_token_crosses_a_word_boundary() -> None:
    tokenizer = build(BpeConfig(vocab_size=1000)).build(lambda: iter(["a b a b"] * 50))
    assert tokenizer.pieces(tokenizer.encode("a b a")) == ["a", " b", " a"]


@pytest.mark.parametrize(
    ("split", "wanted"), [(True, [" ", "1", "9", "8", "4"]), (False, [" 1984"])]
)
def test_each_digit_is_a_token_if_split_digits_is_set(split: bool, wanted: list[str]) -> None:
    config = BpeConfig(vocab_size=1000, split_digits=split)
    tokenizer = build(config).build(lambda: iter(["in 1984"] * 50))
    assert tokenizer.pieces(tokenizer.encode(" 1984")) == wanted
