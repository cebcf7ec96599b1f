import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.data.record_rows import row_of
from etude.records import Chat, Feedback, Labelled, Message, Pair, Preference, Prompt, Ranking, Text

TOOLS = ({"type": "function", "function": {"name": "add"}},)
CALL = Message("assistant", "", {"tool_calls": [{"type": "function", "function": {"name": "f"}}]})
ASKED = Chat((Message("system", "s"), Message("user", "你好")), TOOLS)
CASES: dict[str, list[Any]] = {
    "jsonl": [Text("a\nb 你好")],
    "jsonl_pairs": [Pair("a", "b")],
    "jsonl_chats": [
        Chat(
            (*ASKED.messages, CALL, Message("tool", "3"), Message("assistant", "b", learn=False)),
            TOOLS,
        )
    ],
    "jsonl_preferences": [Preference("q", "a", "b"), Preference(ASKED, CALL, "b")],
    "jsonl_rankings": [Ranking("q", ("a", "b", CALL))],
    "jsonl_feedback": [Feedback(ASKED, CALL, 0.25), Feedback("q", "a", 1.0)],
    "jsonl_prompts": [Prompt(ASKED, "4"), Prompt("who?")],
    "jsonl_labels": [Labelled("text", "label")],
}


@pytest.mark.parametrize("reader", CASES)
def test_a_row_read_again_is_an_equal_record(reader: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps(row_of(record), ensure_ascii=False) for record in CASES[reader]]
    file.write_text("\n".join(rows), encoding="utf-8")
    source = build(tiny.part("data", reader, path=str(file)))
    assert list(source.records()) == CASES[reader]


def test_margins_probabilities_and_lists_have_their_columns() -> None:
    row = row_of(Preference("q", "a", "b", margin=2.0, probability=0.75))
    assert row == {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "margin": 2.0,
        "probability": 0.75,
    }
    assert row_of(Labelled(("two", "words"), ("A", "B"))) == {
        "text": ["two", "words"],
        "label": ["A", "B"],
    }
