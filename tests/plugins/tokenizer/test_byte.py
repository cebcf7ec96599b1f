from tokenizers import pre_tokenizers

from etude.config.registry import build
from etude.data.byte_alphabet import BYTE_CHARACTERS
from etude.data.special_tokens import SPECIAL_TOKENS
from etude.plugins.tokenizer.byte import ByteConfig


def test_the_id_of_a_byte_is_its_value_after_the_special_tokens() -> None:
    tokenizer = build(ByteConfig()).build(lambda: iter(()))
    text = "".join(map(chr, range(0x250))) + "语😀"
    assert (tokenizer.encode(text) - len(SPECIAL_TOKENS)).tolist() == list(text.encode())
    assert tokenizer.vocab.size == len(SPECIAL_TOKENS) + 256 == 365


def test_byte_characters_are_those_of_the_tokenizers_library() -> None:
    assert sorted(BYTE_CHARACTERS) == sorted(pre_tokenizers.ByteLevel.alphabet())
