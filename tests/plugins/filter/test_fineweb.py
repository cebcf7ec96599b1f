from typing import Any

import pytest
import tiny
from chinese import PROSE

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.records import Text

DATATROVE = {
    "empty": "empty",
    "few ended lines": "line_punct_ratio",
    "short lines": "short_line_ratio",
    "duplicate line chars": "char_dup_ratio",
    "line breaks": "list_ratio",
}
"""datatrove's names of the rules."""
LINE = "The ferry crosses the strait twice a day in summer."


def fineweb(**knobs: Any) -> Filter:
    return build(tiny.part("filter", "fineweb", **knobs))


def rule(text: str, **knobs: Any) -> str:
    decision = fineweb(**knobs).decide(Text(text))
    return decision.rule if isinstance(decision, Drop) else ""


def test_each_rule_drops_its_document() -> None:
    assert rule(LINE) == ""
    assert rule(" \n ") == "empty"
    assert rule(LINE[:-1]) == "few ended lines"
    assert rule(f"{LINE}\nHome.\nNews.\nHelp.") == "short lines"
    assert rule(f"{LINE}\n{LINE[1:]}\n{LINE}") == "duplicate line chars"
    assert rule(LINE + "\n" * 5) == "line breaks"


def test_a_drop_has_the_number_and_the_threshold() -> None:
    text = "\n".join([*(["A line of more than thirty characters"] * 3), f"{LINE[:-1]}!"])
    assert fineweb(min_ended_lines=0.3).decide(Text(text)) == Drop("few ended lines", 0.25, 0.3)


def test_limits_can_be_changed_or_removed() -> None:
    assert rule(LINE[:-1], min_ended_lines=0.0) == ""
    assert rule(f"{LINE}\nHome.\nNews.\nHelp.", short_line=4) == ""
    assert rule(LINE + "\n" * 5, max_line_breaks=None) == ""
    with pytest.raises(ValueError, match=r"max_short_lines must be in \[0, 1\], got 2"):
        fineweb(max_short_lines=2.0)


def test_a_short_line_has_fewer_characters_without_spaces_between_words() -> None:
    assert rule(f"{LINE}\nOnly a few words here.\nAnd a few others too.\nIt ends.") == "short lines"
    lines = (
        "他每天早上去河边散步看书喝茶。",
        "她在图书馆里写了三封很长的信。",
        "孩子们在院子里种了两棵苹果树。",
    )
    assert rule("\n".join(lines)) == ""


def test_chinese_prose_is_kept_and_a_chinese_menu_is_not() -> None:
    assert rule(PROSE) == ""
    assert rule(f"{LINE}\n首页。\n新闻。\n关于我们。\n联系方式。\n{PROSE[:80]}") == ""
    assert rule("首页。\n新闻。\n关于我们。\n联系方式。") == "short lines"
    assert rule("卡片上写着：“书和人一样，需要有人照顾。”") == ""


@pytest.mark.slow
def test_verdicts_and_rules_are_those_of_datatrove_with_the_same_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import FineWebQualityFilter

    datatrove_rules.use_our_words(monkeypatch)
    theirs = [FineWebQualityFilter()]
    expected = [datatrove_rules.verdict(theirs, text)[0] for text in english.documents()]
    assert [DATATROVE.get(rule(text), "") for text in english.documents()] == expected
    assert set(expected) >= {"", "line_punct_ratio", "char_dup_ratio", "short_line_ratio"}


@pytest.mark.slow
def test_verdicts_are_those_of_datatrove_and_spacy() -> None:
    import datatrove_rules
    import english
    from datatrove.pipeline.filters import FineWebQualityFilter

    texts = [text for text in english.documents() if 400 < len(text) < 5000][::4]
    theirs = [FineWebQualityFilter()]
    expected = [datatrove_rules.verdict(theirs, text)[0] for text in texts]
    assert [DATATROVE.get(rule(text), "") for text in texts] == expected
