from collections import Counter

from etude.config.registry import build
from etude.plugins.tokenizer.wordpiece import WordpieceConfig, alphabet

TEXTS = ["unhappy unhappier happy happier 语言模型"] * 20


def test_words_are_matched_from_the_left_and_inner_pieces_are_marked() -> None:
    tokenizer = build(WordpieceConfig(vocab_size=400)).build(lambda: iter(TEXTS))
    ids = tokenizer.encode("unhappy happier")
    assert tokenizer.decode(ids) == "unhappy happier"
    assert len(ids) == 2
    assert tokenizer.pieces(tokenizer.encode("happyier"))[0] == "happy"


def test_each_chinese_character_is_a_word_and_an_unseen_one_is_unknown() -> None:
    tokenizer = build(WordpieceConfig(vocab_size=400)).build(lambda: iter(TEXTS))
    assert tokenizer.pieces(tokenizer.encode("语言猫")) == ["语", "言", "<unk>"]


def test_case_is_folded_only_with_lowercase() -> None:
    folded = build(WordpieceConfig(vocab_size=400, lowercase=True)).build(lambda: iter(TEXTS))
    assert folded.decode(folded.encode("HAPPY Häppy")) == "happy happy"
    cased = build(WordpieceConfig(vocab_size=400)).build(lambda: iter(TEXTS))
    assert cased.vocab.unk in cased.encode("HAPPY")


def test_the_alphabet_is_the_most_frequent_characters() -> None:
    words = Counter({"ab": 5, "b": 2, "cd": 1})
    assert alphabet(words, 3) == ["##b", "a", "b"]
    assert alphabet(words, 99) == ["##b", "##d", "a", "b", "c"]
