"""Applies a change of texts to every text of a record, whatever its kind."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from etude import (
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
from etude.data import Change, Drop, Edit, document_of

STRUCTURE: Final = frozenset({"id", "name", "role", "tool_call_id", "type"})
"""Fields of messages that programs read; they are not changed."""
Rewrite = Callable[[str], str]


def edited(
    record: Record, edit: Callable[[str], tuple[str, Sequence[Edit]]]
) -> Change | Drop | None:
    """The decision to replace each text of a record by what `edit` returns for it.

    Labels, the schemas of tools and the fields in STRUCTURE stay. A record without any text left is
    dropped, and so is a question if an answer is no longer part of its context.
    """
    edits: list[Edit] = []

    def rewrite(text: str) -> str:
        new, found = edit(text)
        edits.extend(found)
        return new

    new = _rewritten(record, rewrite)
    if not edits:
        return None
    if isinstance(record, Question):
        new = _with_answers(new, record, lambda text: edit(text)[0])
        if (n_lost := len(record.answers) - len(new.answers)) > 0:
            return Drop("answers no longer in the context", n_lost, 0)
    return Change(new, edits) if document_of(new).strip() else Drop("no text left", 0, 1)


def _rewritten(record: Record, rewrite: Rewrite) -> Record:
    match record:
        case Text(text):
            return Text(rewrite(text))
        case Pair(source, target):
            return Pair(rewrite(source), rewrite(target))
        case Question(question, context):
            return replace(record, question=rewrite(question), context=rewrite(context))
        case Chat():
            return _chat(record, rewrite)
        case Preference(prompt, chosen, rejected):
            prompt, chosen = _turn(prompt, rewrite), _turn(chosen, rewrite)
            return replace(record, prompt=prompt, chosen=chosen, rejected=_turn(rejected, rewrite))
        case Ranking(prompt, completions):
            turns = tuple(_turn(one, rewrite) for one in completions)
            return Ranking(_turn(prompt, rewrite), turns)
        case Feedback(prompt, completion, score):
            return Feedback(_turn(prompt, rewrite), _turn(completion, rewrite), score)
        case Prompt(prompt, answer):
            return Prompt(_turn(prompt, rewrite), None if answer is None else rewrite(answer))
        case Labelled(text, label, second):
            new = rewrite(text) if isinstance(text, str) else tuple(map(rewrite, text))
            return Labelled(new, label, None if second is None else rewrite(second))
        case Choice(prompt, choices, right):
            return Choice(_turn(prompt, rewrite), tuple(map(rewrite, choices)), right)


def _with_answers(new: Record, old: Question, rewrite: Rewrite) -> Question:
    """A rewritten question with the answers that are in its context, where each was nearest."""
    assert isinstance(new, Question)
    found: list[tuple[str, int]] = []
    for answer, start in zip(old.answers, old.starts, strict=True):
        text, expected = rewrite(answer), len(rewrite(old.context[:start]))
        places = re.finditer(f"(?={re.escape(text)})", new.context) if text else ()
        starts = sorted((abs(m.start() - expected), m.start()) for m in places)
        found += [(text, start) for _, start in starts[:1]]
    return replace(new, answers=tuple(a for a, _ in found), starts=tuple(s for _, s in found))


def _turn(turn: Any, rewrite: Rewrite) -> Any:  # of the same type
    """A prompt or a completion: a text, a message or a conversation."""
    match turn:
        case Chat():
            return _chat(turn, rewrite)
        case Message():
            return _message(turn, rewrite)
        case _:
            return rewrite(turn)


def _chat(chat: Chat, rewrite: Rewrite) -> Chat:
    return replace(chat, messages=tuple(_message(one, rewrite) for one in chat.messages))


def _message(message: Message, rewrite: Rewrite) -> Message:
    fields = _json(message.fields, rewrite, kept=STRUCTURE)
    return replace(message, content=rewrite(message.content), fields=fields)


def _json(value: Any, rewrite: Rewrite, kept: frozenset[str] = frozenset()) -> Any:  # JSON
    """A JSON value with its texts rewritten; arguments of tools may be JSON in a text."""
    match value:
        case str():
            return rewrite(value)
        case Mapping():
            return {key: _field(key, item, rewrite, kept) for key, item in value.items()}
        case list() | tuple():
            return [_json(item, rewrite, kept) for item in value]
        case _:
            return value


def _field(key: str, value: Any, rewrite: Rewrite, kept: frozenset[str]) -> Any:  # JSON
    if key in kept:
        return value
    if key != "arguments" or not isinstance(value, str):
        return _json(value, rewrite, frozenset() if key == "arguments" else kept)
    try:
        arguments = json.loads(value)
    except ValueError:
        return rewrite(value)
    new = _json(arguments, rewrite)
    return value if new == arguments else json.dumps(new, ensure_ascii=False)
