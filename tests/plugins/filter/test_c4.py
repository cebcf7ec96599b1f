from typing import Any

import pytest
import tiny
from chinese import PROSE

from etude.config.registry import build
from etude.data.filter import Change, Drop, Filter
from etude.records import Chat, Message, Text

PAGE = """The ferry crosses the strait twice a day. In summer a third boat is added!
Tickets have a number. "It must be shown at the gate."
Why do most people bring bread? There is no kitchen aboard."""
CURLY = ("”", "’")


def c4(**knobs: Any) -> Filter:
    return build(tiny.part("filter", "c4", **knobs))


def kept(text: str, **knobs: Any) -> str:
    """What is left of a document, or the rule that drops it, in brackets."""
    match c4(**knobs).decide(Text(text)):
        case Drop(rule):
            return f"({rule})"
        case Change(Text(clean)):
            return clean
        case _:
            return text


def test_a_page_of_sentences_is_kept_as_it_is() -> None:
    assert kept(PAGE) == PAGE
    assert c4().decide(Text(PAGE)) is None


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("", "empty line"),
        ("Home | News | About us", "no end of a sentence"),
        ("It goes on and on...", "no end of a sentence"),
        ("Read more.", "few words in a line"),
        ("Please enable JavaScript to see this page.", "phrase in a line"),
        ("See our privacy policy for details.", "phrase in a line"),
        (f"Here is one: {'x' * 1001}.", "long word"),
        ("首页。", "few words in a line"),
        ("请阅读我们的隐私政策和使用条款。", "phrase in a line"),
    ],
)
def test_a_line_is_removed_with_its_rule_and_the_line_in_the_audit(line: str, rule: str) -> None:
    decision = c4().decide(Text(f"{line}\n{PAGE}\n{line}\n"))
    assert isinstance(decision, Change)
    assert decision.record == Text(PAGE)
    (edit,) = decision.edits
    assert (edit.rule, edit.number, edit.before, edit.after) == (rule, 2, line[:200], "")


def test_a_page_is_dropped_by_its_sentences_paragraphs_and_phrases() -> None:
    assert c4().decide(Text(PAGE.partition("\n")[0])) == Drop("few sentences", 2, 5)
    found = c4().decide(Text(f"{PAGE}\nLorem Ipsum is no text."))
    assert found == Drop("phrase in the page", 1, 0, detail="lorem ipsum")
    assert kept(f"{PAGE}\nif (x) {{ return y; }}.") == "(phrase in the page)"
    assert kept(f"{PAGE}\nif (x) {{ return y; }}") == PAGE  # removed before it is searched
    assert c4(min_paragraphs=3).decide(Text(PAGE)) == Drop("few paragraphs", 0, 3)
    assert kept(PAGE, min_paragraphs=3, paragraph_chars=40) == PAGE


def test_citations_of_wikipedia_are_removed() -> None:
    assert kept(PAGE.replace(" twice", "[2] twice[[3]][citation needed]")) == PAGE


def test_knobs_turn_rules_off() -> None:
    code = f"{PAGE}\nif (x) {{ return y; }}"
    assert kept(code, ended_lines=False, page_phrases=[]) == code
    assert kept(f"{PAGE}\nEnd.", min_line_words=0) == f"{PAGE}\nEnd."
    with pytest.raises(ValueError, match="must not contain an empty phrase"):
        c4(page_phrases=[""])


def test_chinese_prose_is_kept_and_a_menu_in_it_is_removed() -> None:
    assert kept(PROSE) == PROSE.strip()
    assert kept(f"首页 | 新闻\n{PROSE}") == PROSE.strip()


def test_no_line_of_a_conversation_is_removed() -> None:
    chat = Chat((Message("user", "Hi"), Message("assistant", PAGE)))
    assert c4().decide(chat) is None
    assert c4(min_sentences=9).decide(chat) == Drop("few sentences", 7, 9)


@pytest.mark.slow
def test_verdicts_and_texts_are_those_of_datatrove_with_the_same_sentences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import C4QualityFilter

    datatrove_rules.use_our_words(monkeypatch)
    texts = [one for one in english.documents() if not any(mark in one for mark in CURLY)]
    names = {"too_few_sentences": "few sentences"}
    expected: list[str] = []
    for text in texts:
        rule, clean = datatrove_rules.verdict([C4QualityFilter()], text)
        expected.append(f"({names.get(rule, 'phrase in the page')})" if rule else clean)
    assert [kept(text) for text in texts] == expected
    assert {"(few sentences)", "(phrase in the page)"} <= set(expected)
    assert sum(not one.startswith("(") for one in expected) > 50


@pytest.mark.slow
def test_verdicts_agree_with_datatrove_and_spacy_on_nearly_all_documents() -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import C4QualityFilter

    texts = [text for text in english.documents() if 400 < len(text) < 5000][::4]
    theirs = [datatrove_rules.verdict([C4QualityFilter()], text)[0] for text in texts]
    same = [
        bool(rule) == kept(text).startswith("(") for rule, text in zip(theirs, texts, strict=True)
    ]
    assert len(same) > 50
    assert sum(same) >= 0.98 * len(same)
