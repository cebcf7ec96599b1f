import json
from pathlib import Path
from typing import Any

import pytest
from row_files import reader, rows_of

from etude.data.record_rows import row_of
from etude.records import (
    Chat,
    Choice,
    Feedback,
    Labelled,
    Message,
    Pair,
    Preference,
    Prompt,
    Question,
    Ranking,
    Text,
)

TOOLS = ({"type": "function", "function": {"name": "add"}},)
CALL = Message("assistant", "", {"tool_calls": [{"type": "function", "function": {"name": "f"}}]})
ASKED = Chat((Message("system", "s"), Message("user", "你好")), TOOLS)
CASES: dict[str, list[Any]] = {
    "text": [Text("a\nb 你好")],
    "pair": [Pair("a", "b")],
    "chat": [
        Chat(
            (*ASKED.messages, CALL, Message("tool", "3"), Message("assistant", "b", learn=False)),
            TOOLS,
        )
    ],
    "preference": [Preference("q", "a", "b"), Preference(ASKED, CALL, "b")],
    "ranking": [Ranking("q", ("a", "b", CALL))],
    "feedback": [Feedback(ASKED, CALL, 0.25), Feedback("q", "a", 1.0)],
    "prompt": [Prompt(ASKED, "4"), Prompt("who?")],
    "question": [
        Question("q", "a 你好", ("你好", "a"), (2, 0)),
        Question("q", "no answer"),
    ],
    "label": [Labelled("text", "label"), Labelled("text", ("a", "b")), Labelled("text", ())],
    "choice": [Choice("q", ("a", "b"), 1), Choice(ASKED, ("a", "b", "c"), 0)],
    "rating": [Labelled("text", 4.5)],
    "tags": [Labelled(("two", "words"), ("A", "B"))],
}


@pytest.mark.parametrize("kind", CASES)
def test_a_row_read_again_is_an_equal_record(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps(row_of(record), ensure_ascii=False) for record in CASES[kind]]
    file.write_text("\n".join(rows), encoding="utf-8")
    assert rows_of(reader(kind, file)) == CASES[kind]


def test_margins_and_probabilities_have_their_columns() -> None:
    row = row_of(Preference("q", "a", "b", margin=2.0, probability=0.75))
    assert row == {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "margin": 2.0,
        "probability": 0.75,
    }
