from typing import Any

import pytest
import tiny
from chinese import PROSE

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.plugins.filter._words import Words
from etude.plugins.filter.gopher import (
    GopherConfig,
    duplicate_ngram_chars,
    quality,
    repetition,
    top_ngram_chars,
)
from etude.records import Pair, Text

DATATROVE = {
    "few words": "gopher_short_doc",
    "many words": "gopher_long_doc",
    "short words": "gopher_below_avg_threshold",
    "long words": "gopher_above_avg_threshold",
    "hashes": "gopher_too_many_hashes",
    "ellipses": "gopher_too_many_ellipsis",
    "bullet lines": "gopher_too_many_bullets",
    "ellipsis lines": "gopher_too_many_end_ellipsis",
    "few alphabetic words": "gopher_below_alpha_threshold",
    "few stop words": "gopher_enough_stop_words",
    "duplicate paragraphs": "dup_para_frac",
    "duplicate paragraph chars": "dup_para_char_frac",
    "duplicate lines": "dup_line_frac",
    "duplicate line chars": "dup_line_char_frac",
    **{f"top {n}-gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicate {n}-grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
}
"""datatrove's names of the rules."""
SENTENCE = (
    "The keeper of the lighthouse wrote that ships have to be warned with a bell and a lamp. "
)
OTHER = "Fog came in the morning, and nobody on the shore could see that the two boats had left. "
GOOD = """The ferry crosses the strait twice a day, and in summer a third boat is added.
Tickets have a number that must be shown with a card at the gate on either shore.
Most people bring bread, because there is no kitchen aboard and storms can delay arrival.
In the cabin hangs an old chart whose depths were measured by hand in the last century.
Children like to sit near the engine, where it is warm and where sailors tell stories.
"""


def gopher(**knobs: Any) -> Filter:
    return build(tiny.part("filter", "gopher", **knobs))


def rule(text: str, **knobs: Any) -> str:
    decision = gopher(**knobs).decide(Text(text))
    return decision.rule if isinstance(decision, Drop) else ""


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (GOOD, ""),
        (SENTENCE, "few words"),
        ("It is a to be of " * 20, "short words"),
        ("the thoroughgoing counterrevolutionaries " * 40, "long words"),
        (GOOD.replace(" the ", " ## the ").replace(" a ", " ## a "), "hashes"),
        (GOOD.replace(" a", "… a"), "ellipses"),
        ("\n".join(f"- {line}" for line in GOOD.splitlines()), "bullet lines"),
        ("\n".join(f"{line}…" for line in GOOD.splitlines()), "ellipsis lines"),
        (GOOD + " ".join(map(str, range(20))), "few alphabetic words"),
        (
            GOOD.replace(" the ", " ye ")
            .replace(" and ", " et ")
            .replace("have", "has")
            .replace("that", "which")
            .replace(" to ", " for ")
            .replace("with", "next"),
            "few stop words",
        ),
        ("\n\n".join([SENTENCE] * 3 + [OTHER]), "duplicate paragraphs"),
        ("\n".join([SENTENCE] * 3 + [OTHER]), "duplicate lines"),
        (GOOD + "the bell, " * 20, "top 2-gram"),
        (GOOD + GOOD.splitlines()[1] * 2, "duplicate 5-grams"),
    ],
)
def test_each_rule_drops_its_document(text: str, broken: str) -> None:
    assert rule(text) == broken


def test_a_drop_has_the_number_and_the_threshold() -> None:
    assert gopher(min_words=20).decide(Text(SENTENCE)) == Drop("few words", 18, 20)
    assert gopher(min_words=None).decide(Text("# x of the to")) == Drop("short words", 2, 3)


def test_a_rule_without_a_limit_is_not_checked() -> None:
    limits = dict.fromkeys(("min_words", "min_word_chars", "min_stop_words", "min_alphabetic"))
    assert (
        rule("1 2 3", **limits, max_symbols=None, max_top_ngram=[], max_duplicate_ngrams=[]) == ""
    )
    with pytest.raises(ValueError, match="max_top_ngram must not be negative"):
        gopher(max_top_ngram=[-0.1])


def test_repeated_ngrams_are_counted_without_overlap() -> None:
    tokens = list("abcabcabc")
    assert duplicate_ngram_chars(tokens, 3) == 6
    assert duplicate_ngram_chars(tokens, 9) == 0
    assert top_ngram_chars(tokens, 2, " ") == 9
    assert top_ngram_chars(tokens[:1], 2, " ") == 0


def test_chinese_prose_is_kept_and_repeated_chinese_is_not() -> None:
    assert rule(PROSE) == ""
    assert rule(PROSE[:60]) == "few words"
    assert rule(PROSE + "点击这里立即购买，" * 20).startswith(("top", "duplicate"))
    assert rule("一二三四五六七八九十" * 20, max_top_ngram=[]) == "few stop words"


def test_a_record_is_judged_by_all_its_texts() -> None:
    half = GOOD[: len(GOOD) // 2]
    assert gopher(min_words=70).decide(Pair(half, GOOD[len(half) :])) is None
    assert gopher(min_words=70).decide(Text(half)) is not None


@pytest.mark.slow
def test_verdicts_are_those_of_datatrove_with_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    datatrove_rules.use_our_words(monkeypatch)
    pairs = [(quality, GopherQualityFilter()), (repetition, GopherRepetitionFilter())]
    for ours, theirs in pairs:
        expected = [datatrove_rules.verdict([theirs], text)[0] for text in english.documents()]
        broken = [next(ours(t, Words(t), GopherConfig()), None) for t in english.documents()]
        found = [DATATROVE[one.rule] if one else "" for one in broken]
        assert list(map(bool, found)) == list(map(bool, expected))
        n_other_rules = sum(one != two for one, two in zip(found, expected, strict=True))
        assert n_other_rules <= 0.01 * len(found)  # emoji are words of datatrove, and not of étude
        assert len(set(expected)) > 3


@pytest.mark.slow
def test_verdicts_agree_with_datatrove_and_spacy_on_nearly_all_documents() -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    texts = [text for text in english.documents() if 400 < len(text) < 5000][::4]
    theirs = [GopherQualityFilter(), GopherRepetitionFilter()]
    same = [bool(datatrove_rules.verdict(theirs, text)[0]) == bool(rule(text)) for text in texts]
    assert len(same) > 50
    assert sum(same) >= 0.95 * len(same)
