from typing import Any

import pytest
import tiny
from chinese import PROSE

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.errors import ConfigError
from etude.records import Pair, Text

GERMAN = "Die Fähre fährt im Sommer zweimal am Tag über die Meerenge, und Karten gibt es am Tor."
ENGLISH = "The ferry crosses the strait twice a day in summer, and tickets are sold at the gate."
JAPANESE = "夏のあいだ、フェリーは一日に二回海峡を渡ります。切符は門で買うことができます。"
TRADITIONAL = "夏天渡輪每天兩次橫渡海峽，船票在碼頭的門口出售，孩子們喜歡坐在靠近引擎的地方。"


def language(**knobs: Any) -> Filter:
    return build(tiny.part("filter", "language", **knobs))


def test_texts_of_other_languages_are_dropped_by_language() -> None:
    made = language()
    assert [made.decide(Text(text)) for text in (ENGLISH, PROSE, TRADITIONAL)] == [None] * 3
    german, japanese = made.decide(Text(GERMAN)), made.decide(Text(JAPANESE))
    assert isinstance(german, Drop)
    assert (german.rule, german.threshold) == ("language de", 0.5)
    assert german.number < 0.01
    assert isinstance(japanese, Drop)
    assert japanese.rule == "language ja"


def test_the_kept_languages_can_be_chosen() -> None:
    made = language(keep=["de"])
    assert made.decide(Text(GERMAN)) is None
    assert made.decide(Text(ENGLISH)) is not None
    with pytest.raises(ConfigError, match=r"keep=\['german'\].*\n  It knows: .* de, "):
        language(keep=["german"]).decide(Text(GERMAN))
    with pytest.raises(ValueError, match="keep must name at least one language"):
        language(keep=[])


def test_a_text_with_few_letters_is_kept() -> None:
    assert language().decide(Text("Guten Morgen! " + "12 + 7 = 19 " * 20)) is None
    assert language(min_letters=5).decide(Text("Guten Morgen, wie geht es?")) is not None
    assert language(min_letters=30).decide(Text("これは日本語の文章です。")) is not None


def test_short_chinese_that_is_taken_for_cantonese_or_wu_is_chinese() -> None:
    made = language(min_letters=5)
    assert made.decide(Text("GitHub 是一个代码托管平台")) is None
    assert made.decide(Text("你好")) is None


def test_probabilities_of_the_kept_languages_add_up() -> None:
    mixed = Pair(ENGLISH, GERMAN)
    both = language(keep=["de", "en"], min_probability=0.99).decide(mixed)
    assert both is None
    assert language(keep=["en"], min_probability=0.99).decide(mixed) is not None


@pytest.mark.slow
def test_real_english_documents_are_kept() -> None:
    import english

    made = language()
    texts = [text for text in english.documents() if len(text) > 100]
    dropped = [text for text in texts if made.decide(Text(text))]
    assert len(dropped) <= 0.02 * len(texts)
