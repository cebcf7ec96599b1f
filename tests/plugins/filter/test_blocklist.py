from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.data.filter import Drop
from etude.errors import DataError
from etude.records import Pair, Text


def found(text: str, words: list[str], **knobs: Any) -> str:
    decision = build(tiny.part("filter", "blocklist", words=words, **knobs)).decide(Text(text))
    return decision.detail if isinstance(decision, Drop) else ""


def test_entries_are_whole_words_in_scripts_with_spaces() -> None:
    words = ["cat", "sea lion", "über"]
    assert found("A CAT sat.", words) == "cat (1)"
    assert found("Concatenate the category.", words) == ""
    assert found("हिन्दी में", ["हिन्दी"]) == "हिन्दी (1)"
    assert found("हिन्दू में", ["हिन्दी"]) == ""
    assert found("Two sea-lions, one sea  lion; Über!", words) == "über (1), sea lion (1)"


def test_entries_are_found_anywhere_in_scripts_without_spaces() -> None:
    assert found("这是一个坏词，又一个坏词。", ["坏词", "好"]) == "坏词 (2)"
    assert found("看Ａ片吗", ["a片"]) == "a片 (1)"
    assert found("这里有 cat 和狗", ["cat"]) == "cat (1)"


def test_a_drop_has_the_number_of_hits_and_the_threshold() -> None:
    made = build(tiny.part("filter", "blocklist", words=["bad"], max_hits=1))
    assert made.decide(Text("bad")) is None
    assert made.decide(Pair("bad", "bad bad")) == Drop("listed words", 3, 1, detail="bad (3)")


def test_a_file_has_an_entry_per_line_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# a list\nbad\n\n 坏 \n", encoding="utf-8")
    assert found("bad 坏 worse # list", ["worse"], path=str(file)) == "bad (1), worse (1), 坏 (1)"


def test_the_fingerprint_is_of_the_entries(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    prints: list[str] = []
    for text in ("a\nb\n", "b\r\nA", "a\nc\n"):
        file.write_text(text, encoding="utf-8")
        prints.append(build(tiny.part("filter", "blocklist", path=str(file))).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_an_empty_or_missing_list_is_refused_before_any_record_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no words.*\n.*filter.blocklist.path="):
        build(tiny.part("filter", "blocklist")).fingerprint()
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        build(tiny.part("filter", "blocklist", path=str(tmp_path / "none.txt"))).fingerprint()


def test_many_entries_are_searched_in_time_linear_in_the_text() -> None:
    words = [f"word{i} next{i}" for i in range(20_000)]
    assert found("some text without them " * 2_000 + "word77 next77", words) == "word77 next77 (1)"
