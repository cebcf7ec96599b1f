import json
from typing import Any

import pytest

from etude.data.filter import Change, Drop, Edit
from etude.plugins.filter._texts import edited
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
    Record,
    Text,
)

CALL = {"id": "a1", "type": "function", "function": {"name": "a", "arguments": '{"a": ["xa", 1]}'}}
CALLED = Message("assistant", "a", {"tool_calls": [CALL], "reasoning_content": "a"})


def upper(text: str) -> tuple[str, list[Edit]]:
    new = text.replace("a", "A")
    return new, [Edit("upper", "a", "A")] if new != text else []


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Text("ab"), Text("Ab")),
        (Pair("ab", "ba"), Pair("Ab", "bA")),
        (Prompt("a", None), Prompt("A", None)),
        (Prompt(Chat((Message("user", "a"),)), "a"), Prompt(Chat((Message("user", "A"),)), "A")),
        (
            Preference("a", Message("assistant", "a"), "b", 0.5),
            Preference("A", Message("assistant", "A"), "b", 0.5),
        ),
        (Ranking("b", ("a", "b")), Ranking("b", ("A", "b"))),
        (Feedback("a", "b", 0.5), Feedback("A", "b", 0.5)),
        (Labelled(("a", "b"), ("a", "a")), Labelled(("A", "b"), ("a", "a"))),
        (Labelled("ab", "a"), Labelled("Ab", "a")),
        (
            Question("a", "b ab a", ("ab", "a"), (2, 5)),
            Question("A", "b Ab A", ("Ab", "A"), (2, 5)),
        ),
        (Choice("a", ("a", "b"), 1), Choice("A", ("A", "b"), 1)),
    ],
)
def test_every_text_of_a_record_is_changed_and_nothing_else(
    record: Record, expected: Record
) -> None:
    decision = edited(record, upper)
    assert isinstance(decision, Change)
    assert decision.record == expected
    assert {edit.rule for edit in decision.edits} == {"upper"}
    assert edited(expected, upper) is None


def test_answers_move_with_their_context_and_a_lost_one_drops_the_question() -> None:
    def without_x(text: str) -> tuple[str, list[Edit]]:
        return text.replace("x", ""), [Edit("x", "x", "")] if "x" in text else []

    moved = edited(Question("q", "xx b xb xb", ("b",), (9,)), without_x)
    assert isinstance(moved, Change)
    assert moved.record == Question("q", " b b b", ("b",), (5,))
    lost = edited(Question("q", "b x", ("x", "b"), (2, 0)), without_x)
    assert lost == Drop("answers no longer in the context", 1, 0)


def test_texts_in_the_fields_of_messages_are_changed_and_their_structure_is_not() -> None:
    decision = edited(Chat((Message("user", "a", learn=False), CALLED), ({"name": "a"},)), upper)
    assert isinstance(decision, Change)
    chat: Any = decision.record
    assert chat.messages[0] == Message("user", "A", learn=False)
    assert chat.tools == ({"name": "a"},)
    fields = chat.messages[1].fields
    assert fields["reasoning_content"] == "A"
    call = fields["tool_calls"][0]
    assert {**call, "function": {**call["function"], "arguments": ""}} == {
        **CALL,
        "function": {"name": "a", "arguments": ""},
    }
    assert json.loads(call["function"]["arguments"]) == {"a": ["xA", 1]}


def test_arguments_that_are_no_json_are_changed_as_text() -> None:
    call = {"arguments": "not json: a"}
    decision = edited(Chat((Message("assistant", "", {"tool_calls": [call]}),)), upper)
    assert isinstance(decision, Change)
    chat: Any = decision.record
    assert chat.messages[0].fields["tool_calls"] == [{"arguments": "not json: A"}]


def test_a_record_without_any_text_left_is_dropped() -> None:
    erase = edited(Text("ab"), lambda text: ("", [Edit("erase", text, "")]))
    assert erase == Drop("no text left", 0, 1)
