"""Records as lines of JSON, and back: the format of a RecordFile."""

import json
from dataclasses import fields
from typing import Any, Final, cast

from etude.records import Chat, Message, Record


def encode(row: Any) -> bytes:  # a record, or a part of one
    """A record or bad row as JSON in one line, without its line break."""
    return _JSON.encode(_set_fields(row)).encode()


def _set_fields(row: Any) -> dict[str, Any]:
    """The fields of a row that differ from their defaults, so new fields do not change digests."""
    values = ((item, getattr(row, item.name)) for item in fields(row))
    return {item.name: value for item, value in values if value not in (item.default, {})}


_JSON: Final = json.JSONEncoder(default=_set_fields, ensure_ascii=False)


def decode(line: bytes, kind: type[Record]) -> Record:
    """The record of a line that `encode` made."""
    values: dict[str, Any] = json.loads(line)
    if kind is Chat:
        return _part(values)
    return kind(**{name: _part(value) for name, value in values.items()})


def _part(value: Any) -> Any:  # Any: JSON that `_encode` wrote
    """A list as a tuple, and the conversations and messages in a record."""
    match value:
        case list():
            return tuple(map(_part, cast(list[Any], value)))
        case {"messages": messages, **tools}:
            return Chat(_part(messages), **{name: tuple(held) for name, held in tools.items()})
        case {"role": _}:
            return Message(**value)
        case _:
            return value
