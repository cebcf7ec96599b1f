"""Prompts and completions in the shapes in use become the same records as plain texts."""

import json
from pathlib import Path
from typing import Any

import pytest
from row_files import reader, rows_of

from etude.records import BadRow, Chat, Feedback, Message, Noted, Preference, Ranking, Unused


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def read(config: Any, row: dict[str, Any], folder: Path) -> tuple[Any, list[str]]:
    """The record of a row, and what is not used of it."""
    config.path = str(folder / "rows.jsonl")
    Path(config.path).write_text(json.dumps(row) + "\n")
    record, *rest = rows_of(config)
    return record, [one.part for one in rest if isinstance(one, Unused)]


BEFORE = [{"role": "system", "content": "s"}, user("a"), reply("b"), user("c")]
CHAT = Chat(tuple(Message(one["role"], one["content"]) for one in BEFORE))
ONE_TURN: list[dict[str, Any]] = [
    {"prompt": "a", "chosen": "x", "rejected": "y"},
    {"prompt": "a", "chosen": [user("a"), reply("x")], "rejected": [user("a"), reply("y")]},
    {"chosen": [user("a"), reply("x")], "rejected": [user("a"), reply("y")]},
    {"prompt": [user("a")], "chosen": [reply("x")], "rejected": [reply("y")]},
    {"prompt": [user("a")], "chosen": "x", "rejected": reply("y")},
    {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: a\n\nAssistant: y"},
    {
        "conversations": [{"from": "human", "value": "a"}],
        "chosen": {"from": "gpt", "value": "x"},
        "rejected": {"from": "gpt", "value": "y"},
    },
]
SEVERAL_TURNS: list[dict[str, Any]] = [
    {"prompt": BEFORE, "chosen": [reply("x")], "rejected": [reply("y")]},
    {"prompt": BEFORE, "chosen": [*BEFORE, reply("x")], "rejected": [*BEFORE, reply("y")]},
    {"prompt": "c", "chosen": [*BEFORE, reply("x")], "rejected": [*BEFORE, reply("y")]},
    {"prompt": BEFORE[1:], "system": "s", "chosen": "x", "rejected": "y"},
    {
        "system": "s",
        "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: x",
        "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: y",
    },
]


@pytest.mark.parametrize("row", ONE_TURN)
def test_a_single_question_is_the_same_preference_in_every_shape(
    row: dict[str, Any], tmp_path: Path
) -> None:
    """The last row is LLaMA-Factory's, the others before are UltraFeedback's, TRL's, HH-RLHF's."""
    assert read(reader("preference"), row, tmp_path) == (Preference("a", "x", "y"), [])


@pytest.mark.parametrize("row", SEVERAL_TURNS)
def test_several_turns_are_the_same_preference_in_every_shape(
    row: dict[str, Any], tmp_path: Path
) -> None:
    assert read(reader("preference"), row, tmp_path) == (Preference(CHAT, "x", "y"), [])


def test_a_system_prompt_beside_a_text_makes_a_conversation_of_it(tmp_path: Path) -> None:
    row = {"prompt": "a", "system": "s", "chosen": "x", "rejected": "y"}
    chat = Chat((Message("system", "s"), Message("user", "a")))
    assert read(reader("preference"), row, tmp_path) == (Preference(chat, "x", "y"), [])
    config = reader("preference", system=None)
    assert read(config, row, tmp_path) == (Preference("a", "x", "y"), ["field 'system'"])


def test_the_other_fields_of_ultrafeedback_are_counted(tmp_path: Path) -> None:
    sides = {"chosen": [user("a"), reply("x")], "rejected": [user("a"), reply("y")]}
    row = {"prompt": "a", "prompt_id": "1", **sides, "messages": sides["chosen"], "score_chosen": 8}
    record, unused = read(reader("preference"), row, tmp_path)
    assert record == Preference("a", "x", "y")
    assert unused == ["field 'prompt_id'", "field 'messages'", "field 'score_chosen'"]


def test_a_completion_with_a_call_stays_a_message(tmp_path: Path) -> None:
    call = reply("") | {"tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    row = {"prompt": "a", "chosen": [call], "rejected": "y"}
    record, _ = read(reader("preference"), row, tmp_path)
    wanted = Message("assistant", "", {"tool_calls": call["tool_calls"]})
    assert record == Preference("a", wanted, "y")


def test_feedback_and_rankings_have_the_same_shapes(tmp_path: Path) -> None:
    wanted = Feedback(CHAT, "x", 1.0)
    for row in (
        {"prompt": BEFORE, "completion": [reply("x")], "label": True},
        {"prompt": BEFORE, "completion": "x", "label": True},
        {"completion": [*BEFORE, reply("x")], "label": True},
        {"messages": [*BEFORE, reply("x")], "label": True},
    ):
        assert read(reader("feedback"), row, tmp_path) == (wanted, [])
    for completions in (
        ["x", "y"],
        [reply("x"), [reply("y")]],
        [[*BEFORE, reply(t)] for t in "xy"],
    ):
        row = {"prompt": BEFORE, "completions": completions}
        assert read(reader("ranking"), row, tmp_path) == (Ranking(CHAT, ("x", "y")), [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"chosen": [user("a"), reply("x")], "rejected": [user("b"), reply("y")]},
            "different conv",
        ),
        ({"prompt": "a", "chosen": [reply("x"), user("b")], "rejected": "y"}, "'chosen' must end"),
        (
            {"prompt": [user("a")], "chosen": [reply("x"), user("b"), reply("c")], "rejected": "y"},
            "different conversations",
        ),
        (
            {
                "prompt": [user("a")],
                "chosen": [user("b"), reply("c")],
                "rejected": [user("b"), reply("d")],
            },
            "not the start of the completions",
        ),
        ({"prompt": [user("a"), reply("b")], "chosen": "x", "rejected": "y"}, "prompt must end"),
        ({"chosen": "\n\nHuman: \n\nAssistant: x", "rejected": "y"}, "a turn is empty"),
        ({"prompt": "a", "chosen": [reply("x")], "rejected": [reply("x")]}, "are equal"),
        ({"chosen": "x", "rejected": "y"}, "no field 'prompt'"),
    ],
)
def test_sides_that_do_not_belong_together_are_a_bad_row(
    row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    bad, _ = read(reader("preference"), row, tmp_path)
    assert isinstance(bad, BadRow)
    assert reason in bad.reason


@pytest.mark.parametrize("second", ["x ", "\n x", "x\t\n"])
def test_completions_that_differ_only_in_white_space_around_them_are_a_bad_row(
    second: str, tmp_path: Path
) -> None:
    for config, row in (
        (reader("preference"), {"prompt": "a", "chosen": "x", "rejected": second}),
        (reader("preference"), {"prompt": "a", "chosen": [reply("x")], "rejected": second}),
        (reader("ranking"), {"prompt": "a", "completions": ["y", second, "x"]}),
    ):
        bad, _ = read(config, row, tmp_path)
        assert isinstance(bad, BadRow)
        assert "differ only in white space around them" in bad.reason


@pytest.mark.parametrize(("first", "second"), [("a b", "A b"), ("if a:\n  b", "if a:\n\tb")])
def test_completions_that_differ_only_in_case_or_white_space_are_kept_and_noted(
    first: str, second: str, tmp_path: Path
) -> None:
    config = reader("preference", path=str(tmp_path / "rows.jsonl"))
    row = {"prompt": "a", "chosen": first, "rejected": second}
    Path(config.path).write_text(json.dumps(row))
    record, note = rows_of(config)
    assert record == Preference("a", first, second)
    assert isinstance(note, Noted)
    assert "only in case or white space" in note.rule
