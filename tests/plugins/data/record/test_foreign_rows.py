"""Rows of LLaMA-Factory's demonstration files (see llamafactory/NOTICE) are read without loss."""

import json
from pathlib import Path
from typing import Any

import pytest
from row_files import reader, rows_of

from etude.records import Chat, Message, Pair, Preference

FOLDER = Path(__file__).parents[1] / "llamafactory"
ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant"}


def pairs_of(name: str, record: str) -> list[tuple[dict[str, Any], Any]]:
    """Each row of a file with its record; nothing of a row is unused or noted."""
    file = FOLDER / f"{name}.json"
    found = rows_of(reader(record, file))
    return [*zip(json.loads(file.read_text("utf-8")), found, strict=True)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sharegpt_with_tools_keeps_calls_observations_and_schemas(language: str) -> None:
    for row, chat in pairs_of(f"glaive_toolcall_{language}_demo", "chat"):
        assert isinstance(chat, Chat)
        assert [*chat.tools] == json.loads(row["tools"])
        assert len(chat.messages) == len(row["conversations"])
        for message, given in zip(chat.messages, row["conversations"], strict=True):
            assert message.role == ROLES.get(given["from"], given["from"])
            if given["from"] == "function_call":
                (call,) = message.fields["tool_calls"]
                assert call["function"] == json.loads(given["value"])
            else:
                assert message == Message(message.role, given["value"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_preferences_over_a_conversation_are_preferences(language: str) -> None:
    for row, preference in pairs_of(f"dpo_{language}_demo", "preference"):
        (question,) = row["conversations"]
        sides = row["chosen"]["value"], row["rejected"]["value"]
        assert preference == Preference(question["value"], *sides)


def test_instructions_and_answers_are_pairs_or_conversations() -> None:
    for row, pair in pairs_of("identity", "alpaca"):
        assert pair == Pair(row["instruction"], row["output"])
    for row, chat in pairs_of("identity", "alpaca_chat"):
        turns = Message("user", row["instruction"]), Message("assistant", row["output"])
        assert chat == Chat(turns)
