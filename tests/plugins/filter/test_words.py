import re

import regex

from etude.plugins.filter import _words
from etude.plugins.filter._words import Words, duplicates, ends_sentence, n_sentences


def test_words_and_punctuation_marks_are_tokens_as_in_spacy() -> None:
    tokens = Words("It's e.g. 3.14% of foo.bar(), don't... see https://a.example/x?y=1 #tag").tokens
    assert tokens == [
        *("It", "'s", "e.g", ".", "3.14", "%", "of", "foo.bar", "(", ")", ",", "do", "n't"),
        *("...", "see", "https://a.example/x?y=1", "#", "tag"),
    ]
    assert Words("one, two; three!").n_words == 3


def test_two_characters_of_a_script_without_spaces_count_as_a_word() -> None:
    words = Words("我们今天去GitHub看书。")
    assert words.tokens == [*"我们今天去", "GitHub", *"看书。"]
    assert words.n_words == 1 + 7 // 2
    assert len(words) == words.n_words + 1
    assert Words("ภาษาไทย").is_unspaced
    assert Words("カタカナとひらがな, ok").is_unspaced
    assert Words("हिन्दी में, हाँ।").tokens == ["हिन्दी", "में", ",", "हाँ", "।"]
    assert not Words("Korean has spaces: 한국어는 띄어쓰기를 한다").is_unspaced


def test_sentences_end_at_marks_of_their_script() -> None:
    assert n_sentences('He cried "Stop." Then 3.14 is pi! Really?! Yes... no') == 5
    assert n_sentences("你好。今天好吗？很好！再见") == 4
    assert n_sentences("क्या आप ठीक हैं? हाँ। ") == 2
    assert n_sentences("...") == 0
    assert ends_sentence("他说：“好。”")
    assert ends_sentence("It ends.")
    assert not ends_sentence("它没有结束，")


def test_every_mark_that_ends_a_sentence_has_the_unicode_property() -> None:
    marks = set(_words.SENTENCE_ENDS)
    assert not [mark for mark in marks if not regex.match(r"\p{Sentence_Terminal}", mark)]


def test_later_copies_are_duplicates() -> None:
    assert duplicates(["ab", "c", "ab", "ab", "d"]) == (2, 4)


def test_tokens_leave_out_nothing_but_spaces() -> None:
    text = "a_b  C++\t“x”—y\n\u200b你好 …a...b --- 'tis"
    assert "".join(Words(text).tokens) == re.sub(r"\s", "", text)
