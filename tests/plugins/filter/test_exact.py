import tiny

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.plugins.filter.exact import normalized
from etude.records import Message, Preference, Text


def exact(**knobs: bool) -> Filter:
    return build(tiny.part("filter", "exact", **knobs))


def test_the_first_of_equal_texts_survives_whatever_its_case_and_punctuation() -> None:
    made = exact()
    texts = ["Hello, world.", "other", "hello world!", "HELLO  WORLD", "你好，世界", "你好 世界"]
    found = [made.decide(Text(text)) for text in texts]
    assert found[:2] == [None, None]
    assert found[2:4] == [Drop("duplicate", 2, 1, other=0), Drop("duplicate", 3, 1, other=0)]
    assert found[4:] == [None, Drop("duplicate", 2, 1, other=4)]


def test_without_normalisation_every_character_counts() -> None:
    made = exact(normalize=False)
    found = [made.decide(Text(text)) for text in ("a b", "a  b", "a b")]
    assert found == [None, None, Drop("duplicate", 2, 1, other=0)]


def test_numbers_and_vowel_signs_are_compared_and_symbols_are_not() -> None:
    assert normalized("Ｎo. ①: हिन्दी!") == "no1हिन्दी"
    assert normalized("--") == "--"


def test_records_of_other_kinds_are_compared_by_all_their_texts() -> None:
    made = exact()
    one = Preference("q", "yes", Message("assistant", "no"))
    assert made.decide(one) is None
    assert made.decide(Preference("q", "yes", "never")) is None
    assert made.decide(Preference("Q", "yes", "no")) == Drop("duplicate", 2, 1, other=0)
