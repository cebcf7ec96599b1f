import json

from etude.data.record_json import decode, encode
from etude.records import BadRow, Chat, Labelled, Message, Preference, Record, Text


def test_a_record_survives_a_line_of_json() -> None:
    call = Message("assistant", "", {"tool_calls": [{"role": "x", "messages": [None, 1.5]}]})
    records: list[Record] = [
        Text("a\nb\u2028你好"),
        Chat((Message("user", "hi"), call), ({"name": "add"},)),
        Preference(Chat((Message("user", "hi"),)), call, "no", margin=0.5),
        Labelled(("two", "words"), ("A", "B")),
    ]
    for record in records:
        line = encode(record)
        assert b"\n" not in line
        assert decode(line, type(record)) == record


def test_defaults_are_not_written() -> None:
    assert json.loads(encode(Message("user", "hi"))) == {"role": "user", "content": "hi"}
    assert json.loads(encode(BadRow("file:1", "why"))) == {"place": "file:1", "reason": "why"}
