"""Alpaca's format as a conversation, with a system prompt and a history of earlier turns.

https://github.com/hiyouga/LLaMA-Factory/tree/main/data#alpaca-format. `history` is a list of pairs:
an instruction and its answer. A row with neither is the conversation that data/record=alpaca
becomes for an objective of conversations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from etude import Chat, Message, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row, valid_text

from ._alpaca import AlpacaColumns, instruction_of
from ._messages import ConversationColumns, MessageReader
from ._shapes import ShapedReader


@dataclass
class AlpacaChatColumns(ConversationColumns, AlpacaColumns):
    history: str | None = "history"
    """Earlier turns: a list of pairs of an instruction and its answer; null = it is not used."""


@dataclass
class AlpacaChatRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    AlpacaChatRecordConfig,
    yields=Chat,
    columns=AlpacaChatColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"instruction": "Count to #.", "output": "1, ..., #", '
        '"history": [["Hi #", "Hello"]]}',
    },
)
class AlpacaChatReader(ShapedReader[AlpacaChatRecordConfig, AlpacaChatColumns]):
    """The answers in the history are trained on as well, unless the objective leaves them out."""

    def convert(self, row: Row) -> Chat:
        columns = self.columns
        given = columns.history and row.optional(columns.history)
        turns = [_turn(pair, f"item {i} of field {columns.history!r}") for i, pair in _items(given)]
        turns.append((instruction_of(row, columns), row.text(columns.output)))
        roles = ("user", "assistant")
        messages = [Message(*one) for turn in turns for one in zip(roles, turn, strict=True)]
        return MessageReader(row, columns).chat(messages)


def _items(history: Any) -> Iterable[tuple[int, Any]]:
    """The items of a history with their numbers; none if it is missing."""
    if not isinstance(history, list | None):
        raise BadFieldError("the history must be a list of pairs")
    return enumerate(history or (), start=1)


def _turn(pair: Any, name: str) -> tuple[str, str]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadFieldError(f"{name} must be a pair of an instruction and its answer")
    instruction = valid_text(pair[0], f"the instruction in {name}")
    return instruction, valid_text(pair[1], f"the answer in {name}")
