import json
import random
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.data.filter import Drop, Filter
from etude.errors import DataError
from etude.plugins.filter.decontaminate import Decontaminate
from etude.records import Text

QUESTION = "Which library keeps every copy of the journal since it was founded in May?"


def decontaminate(path: Path, **knobs: Any) -> Filter:
    return build(tiny.part("filter", "decontaminate", path=str(path), **knobs))


def test_the_item_that_was_hit_is_named_with_the_shared_words(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    rows = [{"q": "short one"}, {"q": QUESTION, "options": ["a", {"b": 1}]}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = decontaminate(file)
    shared = "which library keeps every copy of the journal since it was founded in"
    drop = Drop("evaluation item", 2, 0, f"{file}:2: {shared}")
    assert made.decide(Text(f"Q: {QUESTION.upper()} A: ours")) == drop
    assert made.decide(Text(QUESTION.replace("journal", "paper"))) is None
    assert made.decide(Text("short one")) is None


def test_the_number_is_that_of_distinct_shared_ngrams(tmp_path: Path) -> None:
    file = tmp_path / "set.txt"
    file.write_text(QUESTION, encoding="utf-8")
    text = Text(f"{QUESTION} {QUESTION}")
    drop = decontaminate(file, ngram=5, max_overlap=9).decide(text)
    assert isinstance(drop, Drop)
    assert drop.number == 10
    assert decontaminate(file, ngram=5, max_overlap=10).decide(text) is None


def test_named_sets_are_counted_by_name(tmp_path: Path) -> None:
    sets = {name: str(tmp_path / f"{name}.txt") for name in ("journals", "sums")}
    (tmp_path / "journals.txt").write_text(QUESTION, encoding="utf-8")
    (tmp_path / "sums.txt").write_text("三乘四等于多少请回答", encoding="utf-8")
    made = build(tiny.part("filter", "decontaminate", path=None, sets=sets))
    drops = [made.decide(Text(text)) for text in (QUESTION, "问：三乘四等于多少？请回答。")]
    rules = [drop.rule for drop in drops if isinstance(drop, Drop)]
    assert rules == ["evaluation item of journals", "evaluation item of sums"]
    (tmp_path / "sums.txt").write_text("short", encoding="utf-8")
    with pytest.raises(DataError, match=r"sets\.sums: no item has 8 words"):
        build(tiny.part("filter", "decontaminate", path=None, sets=sets)).decide(Text("a"))
    with pytest.raises(ValueError, match="path is empty"):
        tiny.part("filter", "decontaminate", path=None)


def test_items_shorter_than_an_ngram_are_found_whole(tmp_path: Path) -> None:
    file = tmp_path / "set.txt"
    file.write_text(
        "one two three four five six seven eight\n三乘四等于多少请回答\n", encoding="utf-8"
    )
    made = decontaminate(tmp_path)
    assert made.decide(Text("zero one two three four five six seven eight nine")) is not None
    assert made.decide(Text("zero one two three four five six eight")) is None
    assert made.decide(Text("问题：三乘四等于多少？请回答。")) is not None
    with pytest.raises(DataError, match=r"no item has 11 words"):
        decontaminate(file, min_words=11).decide(Text("a"))


@pytest.mark.parametrize("script", ["english", "chinese"])
def test_planted_items_are_found_and_nothing_else(script: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    words = (
        [f"w{i}" for i in range(400)]
        if script == "english"
        else list(map(chr, range(20000, 20400)))
    )
    joint = " " if script == "english" else ""
    items = [joint.join(draw.choices(words, k=30)) for _ in range(50)]
    documents = [joint.join(draw.choices(words, k=200)) for _ in range(400)]
    for i in range(0, 400, 4):  # with 20 consecutive words of an item
        item = draw.choice(items)
        part = joint.join(item.split(joint)[5:25]) if joint else item[5:25]
        documents[i] = documents[i][:100] + joint + part + joint + documents[i][100:]
    (tmp_path / "set.txt").write_text("\n".join(items), encoding="utf-8")
    made = decontaminate(tmp_path)
    found = [i for i, text in enumerate(documents) if made.decide(Text(text))]
    assert found == list(range(0, 400, 4))  # recall and precision 1


def test_a_changed_set_has_another_fingerprint_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text('{"a": "b"}', encoding="utf-8")
    before = decontaminate(file).fingerprint()
    file.write_text("{", encoding="utf-8")
    made = decontaminate(file)
    assert isinstance(made, Decontaminate)
    assert made.fingerprint() != before
    with pytest.raises(DataError, match=r"decontaminate: .*set\.jsonl:1: Expecting"):
        made.decide(Text("a"))
    with pytest.raises(DataError, match="missing"):
        decontaminate(tmp_path / "missing.txt")
