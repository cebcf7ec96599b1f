"""Messages are read in the shapes in use; what is not used of a row is counted, never ignored."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from row_files import reader, rows_of

from etude.records import BadRow, Chat, Message, Noted, Prompt, Unused

USER = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "hello"}
HI_HELLO = (Message("user", "hi"), Message("assistant", "hello"))
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}


def rows(config: Any, *fields: dict[str, Any], folder: Path) -> list[Any]:
    """What a reader yields for rows of a file."""
    config.path = str(folder / "rows.jsonl")
    Path(config.path).write_text("".join(json.dumps(one) + "\n" for one in fields))
    return rows_of(config)


def chat(folder: Path, *messages: dict[str, Any], **fields: Any) -> tuple[Any, Counter[str]]:
    """The record of a conversation, and the counts of what is not used of it."""
    row = {"messages": list(messages), **fields}
    record, *rest = rows(reader("chat"), row, folder=folder)
    return record, Counter(one.part for one in rest if isinstance(one, Unused))


def test_the_system_field_of_sharegpt_rows_is_a_system_message(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    found = rows(
        reader("chat"),
        {"conversations": turns, "system": "Be brief."},
        {"conversations": turns, "system": ""},
        {"conversations": turns, "system": None},
        folder=tmp_path,
    )
    assert found == [Chat((Message("system", "Be brief."), *HI_HELLO)), *[Chat(HI_HELLO)] * 2]
    (record, unused) = rows(
        reader("chat", system=None),
        {"conversations": turns, "system": "Be brief."},
        folder=tmp_path,
    )
    assert (record, unused) == (Chat(HI_HELLO), Unused("field 'system'"))


@pytest.mark.parametrize("content", ["", "  ", None])
def test_an_empty_system_message_is_none(content: str | None, tmp_path: Path) -> None:
    record, unused = chat(tmp_path, {"role": "system", "content": content}, USER, HELLO)
    assert (record, unused) == (Chat(HI_HELLO), Counter())


def test_system_messages_stay_where_they_stand_and_a_late_one_is_noted(tmp_path: Path) -> None:
    first = {"role": "system", "content": "a"}
    second = {"role": "developer", "content": "b"}
    for given, roles in (
        ((first, second, USER, HELLO), "system system user assistant"),
        ((USER, HELLO, second, USER, HELLO), "user assistant system user assistant"),
    ):
        record, *rest = rows(reader("chat"), {"messages": given}, folder=tmp_path)
        assert " ".join(one.role for one in record.messages) == roles
        (note,) = rest
        assert isinstance(note, Noted)
        assert "system message after the first" in note.rule
    row = {"messages": [first, USER, HELLO], "system": "a"}
    (record,) = rows(reader("chat"), row, folder=tmp_path)
    assert record == Chat((Message("system", "a"), *HI_HELLO))


@pytest.mark.parametrize(
    ("turns", "rule"),
    [
        ("user user assistant", "in a row of the same role"),
        ("user assistant assistant", "in a row of the same role"),
        ("assistant user assistant", "that the assistant begins"),
        ("system assistant user assistant", "that the assistant begins"),
        ("user assistant user", "after the last answer"),
        ("user assistant tool", "after the last answer"),
        ("system user assistant user assistant", None),
        ("user assistant tool tool assistant", None),
    ],
)
def test_an_unusual_order_of_roles_is_kept_and_noted(
    turns: str, rule: str | None, tmp_path: Path
) -> None:
    messages = [{"role": role, "content": "a"} for role in turns.split()]
    record, *rest = rows(reader("chat"), {"messages": messages}, folder=tmp_path)
    assert " ".join(message.role for message in record.messages) == turns
    rules = [note.rule for note in rest if isinstance(note, Noted)]
    assert len(rules) == (rule is not None)
    assert all(rule in found for found in rules if rule)


@pytest.mark.parametrize(
    "mark",
    [
        {"weight": 0},
        {"weight": 0.0},
        {"train": False},
        {"training": False},
        {"trainable": False},
        {"loss": False},
        {"loss": 0},
        {"loss_mask": 0},
        {"loss_weight": 0.0},
        {"mask": True},
        {"masked": True},
        {"weight": 1, "mask": 1},
    ],
    ids=str,
)
def test_a_mark_not_to_learn_an_answer_is_obeyed(mark: dict[str, Any], tmp_path: Path) -> None:
    record, unused = chat(tmp_path, USER, HELLO | mark, USER, HELLO)
    assert [message.learn for message in record.messages] == [True, False, True, True]
    assert unused == Counter()


@pytest.mark.parametrize(
    "mark", [{"weight": 1}, {"train": True}, {"mask": False}, {"loss": None}], ids=str
)
def test_a_mark_to_learn_an_answer_changes_nothing(mark: dict[str, Any], tmp_path: Path) -> None:
    assert chat(tmp_path, USER, HELLO | mark) == (Chat(HI_HELLO), Counter())


def test_a_mark_that_cannot_be_obeyed_is_reported(tmp_path: Path) -> None:
    bad, _ = chat(tmp_path, USER, HELLO | {"weight": 0.5})
    assert isinstance(bad, BadRow)
    assert "weight of message 2 of field 'messages' must be 1 or 0" in bad.reason
    _, unused = chat(tmp_path, USER | {"train": True}, HELLO)
    assert unused == {"train=true of the role user, which is not learned": 1}


def test_unknown_fields_of_rows_and_messages_are_counted_once_a_row(tmp_path: Path) -> None:
    marked = {"id": 3, "train_detail": [1], "empty": None}
    _, unused = chat(tmp_path, USER | marked, HELLO | marked, source="web", weight=2.0)
    names = "field 'source'", "field 'weight'", "message field 'id'", "message field 'train_detail'"
    assert unused == dict.fromkeys(names, 1)


def test_tools_calls_and_reasoning_are_kept(tmp_path: Path) -> None:
    record, unused = chat(
        tmp_path,
        USER | {"name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm."},
        {"role": "tool", "content": "", "tool_call_id": "c1"},
        HELLO | {"thinking": "Ah.", "tool_calls": []},
        tools=[TOOL],
    )
    assert unused == Counter()
    assert record == Chat(
        (
            Message("user", "hi", {"name": "Ann"}),
            Message("assistant", "", {"tool_calls": [CALL], "reasoning_content": "Hm."}),
            Message("tool", "", {"tool_call_id": "c1"}),
            Message("assistant", "hello", {"reasoning_content": "Ah."}),
        ),
        (TOOL,),
    )


def test_calls_in_the_older_spellings_are_calls(tmp_path: Path) -> None:
    """ShareGPT's and ms-swift's roles of a call, and OpenAI's function_call."""
    call = CALL["function"]
    for spelled in (
        {"from": "function_call", "value": json.dumps(call)},
        {"role": "tool_call", "content": json.dumps([call])},
        {"role": "assistant", "content": None, "function_call": call},
    ):
        record, unused = chat(tmp_path, USER, spelled, tools=json.dumps([TOOL]))
        assert record.messages[1] == Message("assistant", "", {"tool_calls": [CALL]})
        assert record.tools == (TOOL,)
        assert unused == Counter()
    for name in ("tool", "function", "observation", "ipython"):
        record, _ = chat(tmp_path, USER, {"from": name, "value": "3"}, HELLO)
        assert record.messages[1] == Message(name, "3")


@pytest.mark.parametrize(
    ("messages", "fields", "reason"),
    [
        ([USER, {"role": "assistant", "content": ""}], {}, "content of message 2 .* is empty"),
        ([USER, HELLO | {"content": 3}], {}, "content of message 2 .* must be text, not a number"),
        ([USER, HELLO | {"content": [{"type": "image_url"}]}], {}, "a part that is not text"),
        ([USER, HELLO | {"tool_calls": [{"id": "\ud800"}]}], {}, "unpaired surrogate"),
        ([USER, {"from": "function_call", "value": "{"}], {}, "message 2 .* is not JSON"),
        ([USER, HELLO], {"tools": "[{"}, "field 'tools' is not JSON"),
        ([USER, HELLO], {"tools": ["add"]}, "field 'tools' must be a list of JSON schemas"),
        ([USER, HELLO], {"system": 3}, "field 'system' must be text"),
        ([{"role": "system", "content": ""}], {}, "no message has the role assistant"),
    ],
)
def test_a_malformed_conversation_is_a_bad_row(
    messages: list[Any], fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    bad, _ = chat(tmp_path, *messages, **fields)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(bad.reason)


def test_the_parts_of_a_text_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert chat(tmp_path, USER, HELLO | {"content": parts}) == (Chat(HI_HELLO), Counter())


def test_of_a_prompt_and_a_completion_only_the_completion_is_learned(tmp_path: Path) -> None:
    answered = [USER, HELLO, USER]
    for prompt, completion in ((answered, [HELLO]), (answered, "hello")):
        row = {"prompt": prompt, "completion": completion}
        (record,) = rows(reader("chat"), row, folder=tmp_path)
        assert [m.learn for m in record.messages if m.role == "assistant"] == [False, True]
        assert [m.content for m in record.messages] == ["hi", "hello"] * 2
    (record,) = rows(reader("chat"), {"prompt": "hi", "completion": "hello"}, folder=tmp_path)
    assert [m.as_row() for m in record.messages] == [USER, HELLO]


def test_a_prompt_of_one_question_is_its_text_and_others_are_conversations(tmp_path: Path) -> None:
    system = Message("system", "Be brief.")
    found = rows(
        reader("prompt"),
        {"prompt": "hi"},
        {"prompt": [USER]},
        {"prompt": "hi", "system": "Be brief."},
        {"prompt": [USER, HELLO, USER], "tools": [TOOL]},
        {"prompt": "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: hi\n\nAssistant:"},
        folder=tmp_path,
    )
    turns = (*HI_HELLO, HI_HELLO[0])
    assert found == [
        Prompt("hi"),
        Prompt("hi"),
        Prompt(Chat((system, HI_HELLO[0]))),
        Prompt(Chat(turns, (TOOL,))),
        Prompt(Chat(turns)),
    ]
    assert rows(reader("prompt"), {"messages": [USER]}, folder=tmp_path) == [Prompt("hi")]
    (bad,) = rows(reader("prompt"), {"prompt": [USER, HELLO]}, folder=tmp_path)
    assert "must end with a message that the assistant answers" in bad.reason


def test_marks_of_a_preference_are_counted_since_they_have_no_effect(tmp_path: Path) -> None:
    row = {"prompt": "hi", "chosen": [HELLO | {"weight": 0}], "rejected": "no"}
    _, unused = rows(reader("preference"), row, folder=tmp_path)
    assert unused == Unused("message field 'weight'")
