from etude.data.words import ngrams, words_of


def test_a_character_of_a_script_without_spaces_is_a_word() -> None:
    assert words_of("Die Straße, 3.5!") == ["die", "strasse", "3", "5"]
    assert words_of("我爱 Python３。") == ["我", "爱", "python3"]
    assert words_of("한국어 हिन्दी ไทย") == ["한국어", "हिन्दी", "ไ", "ท", "ย"]


def test_a_short_text_is_one_ngram_and_an_empty_one_none() -> None:
    assert ngrams(["a", "b", "c"], 2) == ["a b", "b c"]
    assert ngrams(["a", "b"], 5) == ["a b"]
    assert ngrams([], 5) == []
