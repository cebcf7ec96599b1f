"""Which message each token belongs to, by comparison with the conversations of the records."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from etude.data.chat_template import as_chat, message_labels
from etude.data.rendering import TemplateError
from etude.data.tokenizer import Tokenizer
from etude.records import Chat, Message

ANSWER = "x"
"""Stands for a completion that the policy writes."""
COMPLETION = "completion"
"""The label of tokens after those of a record."""


@dataclass(frozen=True)
class Labelled:
    """The ids of a conversation, and the message of each one, such as `2 user`."""

    ids: Int[np.ndarray, " seq"]
    labels: Sequence[str]

    def match(self, row: Int[np.ndarray, " row"]) -> tuple[int, int]:
        """How many tokens after the first of a row equal tokens here, and where these start.

        The first is not compared: a prompt that is cut keeps it, and a decoder has one of its own.
        """
        best = (0, 0)
        for start in np.flatnonzero(self.ids == row[1]).tolist() if len(row) > 1 else ():
            size = min(len(row) - 1, len(self.ids) - start)
            differs = np.flatnonzero(row[1 : size + 1] != self.ids[start : start + size])
            best = max(best, (int(differs[0]) if len(differs) else size, start))
        return best

    def labels_of(self, row: Int[np.ndarray, " row"]) -> list[str]:
        """The labels of a row; empty if it diverges before the last message."""
        size, start = self.match(row)
        labels = list(self.labels[start : start + size])
        n_left = len(row) - 1 - size
        if not labels or (n_left and labels[-1] != self.labels[-1]):
            return []
        first = self.labels[0] if row[0] == self.ids[0] else labels[0]
        return [first, *labels, *[COMPLETION] * n_left]


def labelled(records: Sequence[Any], tokenizer: Tokenizer) -> list[Labelled]:
    """The conversations of records; empty if they are none, or without a chat template."""
    found: list[Labelled] = []
    for chat in (chat for record in records for chat in _chats(record)):
        with suppress(TemplateError):
            if tokenizer.template is not None:
                found.append(Labelled(*message_labels(tokenizer, chat)))
    return found


def row_labels(row: Sequence[int], known: Sequence[Labelled]) -> list[str]:
    """The message of each token of a row, by the conversation with most of it; empty if unknown."""
    ids = np.array(row)
    best = max(known, key=lambda one: one.match(ids), default=None)
    return [] if best is None else best.labels_of(ids)


def _chats(record: Any) -> Iterator[Chat]:  # of any kind
    """The conversations of a record with a prompt, one for each of its completions."""
    parts = vars(record) if is_dataclass(record) else {}
    prompt = parts.get("prompt")
    if isinstance(prompt, str | Chat):
        others = [value for name, value in parts.items() if name not in ("prompt", "answer")]
        lists = [value if isinstance(value, tuple) else (value,) for value in others]
        completions = [one for part in lists for one in part if isinstance(one, str | Message)]
        for one in completions or [ANSWER]:
            turn = Message("assistant", one) if isinstance(one, str) else one
            chat = as_chat(prompt)
            yield replace(chat, messages=(*chat.messages, turn))
