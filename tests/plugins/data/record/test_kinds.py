import json
from pathlib import Path

import pytest
from row_files import reader, rows_of

from etude.config.record_kind import kind_of
from etude.data.rows import RowFileConfig
from etude.records import (
    BadRow,
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

BC = Choice("p", ("b", "c"), 1)
HELLO = {"role": "assistant", "content": "hello"}
SHAREGPT = {
    "messages": "conversations",
    "role": "from",
    "content": "value",
}
GOOD: list[tuple[RowFileConfig, dict, Record]] = [
    (reader("text"), {"text": "a"}, Text("a")),
    (reader("text", text="body"), {"body": "a", "text": 3}, Text("a")),
    (reader("pair"), {"source": "s", "target": "t"}, Pair("s", "t")),
    (reader("alpaca"), {"instruction": "i", "input": "t", "output": "o"}, Pair("i\n\nt", "o")),
    (reader("alpaca"), {"instruction": "i", "input": "", "output": "o"}, Pair("i", "o")),
    (reader("alpaca"), {"instruction": "i", "output": "o"}, Pair("i", "o")),
    (
        reader("preference", prompt="q"),
        {"q": "p", "chosen": "c", "rejected": "r"},
        Preference("p", "c", "r"),
    ),
    (
        reader("preference", margin="by", probability="sure"),
        {"prompt": "p", "chosen": "c", "rejected": "r", "by": 2, "sure": 0.75},
        Preference("p", "c", "r", 2.0, 0.75),
    ),
    (reader("ranking"), {"prompt": "p", "completions": ["b", "w"]}, Ranking("p", ("b", "w"))),
    (
        reader("feedback"),
        {"prompt": "p", "completion": "c", "label": True},
        Feedback("p", "c", 1.0),
    ),
    (
        reader("feedback", score="score"),
        {"prompt": "p", "completion": "c", "score": -2},
        Feedback("p", "c", -2.0),
    ),
    (reader("prompt"), {"prompt": "p", "answer": "4"}, Prompt("p", "4")),
    (reader("prompt"), {"prompt": "p", "answer": None}, Prompt("p")),
    (
        reader("question"),
        {"question": "q", "context": "ab", "answers": {"text": ["b"], "answer_start": [1]}},
        Question("q", "ab", ("b",), (1,)),
    ),
    (
        reader("question", answers="found"),
        {"question": "q", "context": "ab", "found": [{"text": "a", "answer_start": 0}]},
        Question("q", "ab", ("a",), (0,)),
    ),
    (
        reader("question"),
        {"question": "q", "context": "ab", "answers": {"text": [], "answer_start": []}},
        Question("q", "ab"),
    ),
    (reader("label"), {"text": "t", "label": "l"}, Labelled("t", "l")),
    (reader("label"), {"text": "t", "label": ["l", "m"]}, Labelled("t", ("l", "m"))),
    (reader("label"), {"text": "t", "label": []}, Labelled("t", ())),
    (
        reader("label", second="other"),
        {"text": "t", "label": "l", "other": "u"},
        Labelled("t", "l", "u"),
    ),
    (
        reader("rating", second="other"),
        {"text": "t", "rating": 4, "other": "u"},
        Labelled("t", 4.0, "u"),
    ),
    (reader("choice"), {"prompt": "p", "choices": ["b", "c"], "answer": 1}, BC),
    (reader("choice"), {"question": "p", "choices": ["b", "c"], "answer": "B"}, BC),  # MMLU
    (reader("choice"), {"ctx": "p", "endings": ["b", "c"], "label": "1"}, BC),  # HellaSwag
    (reader("choice"), {"query": "p", "choices": ["b", "c"], "gold": 1}, BC),  # lm-eval
    (
        reader("choice"),  # ARC
        {"question": "p", "choices": {"text": ["b", "c"], "label": ["1", "2"]}, "answerKey": "2"},
        BC,
    ),
    (
        reader("choice", prompt="q.stem", choices="q.choices"),  # ARC's own files
        {
            "q": {
                "stem": "p",
                "choices": [{"text": "b", "label": "A"}, {"text": "c", "label": "B"}],
            },
            "answerKey": "B",
        },
        BC,
    ),
    (reader("choice"), {"prompt": "p", "options": ["b", "c"], "answer": "c"}, BC),
    (
        reader("tags"),
        {"tokens": ["t", "u"], "tags": ["l", "m"]},
        Labelled(("t", "u"), ("l", "m")),
    ),
    (reader("rating"), {"text": "t", "rating": 4}, Labelled("t", 4.0)),
    (
        reader("alpaca_chat"),
        {"instruction": "i", "input": "t", "output": "o", "system": "s", "history": [["h", "a"]]},
        Chat(
            (
                Message("system", "s"),
                Message("user", "h"),
                Message("assistant", "a"),
                Message("user", "i\n\nt"),
                Message("assistant", "o"),
            )
        ),
    ),
    (
        reader("alpaca_chat", history=None),
        {"instruction": "i", "output": "o", "history": []},
        Chat((Message("user", "i"), Message("assistant", "o"))),
    ),
    (
        reader("chat"),
        {"messages": [{"role": "user", "content": "hi"}, HELLO]},
        Chat((Message("user", "hi"), Message("assistant", "hello"))),
    ),
    (
        reader("chat", **SHAREGPT),
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        Chat((Message("user", "hi"), Message("assistant", "hello"))),
    ),
]
BAD: list[tuple[RowFileConfig, dict, str]] = [
    (reader("alpaca"), {"instruction": "i", "input": 3, "output": "o"}, "must be text"),
    (reader("pair"), {"source": "s"}, "no field 'target'"),
    (
        reader("preference"),
        {"prompt": "p", "chosen": "c", "rejected": "c"},
        "two completions are equal",
    ),
    (
        reader("preference", probability="sure"),
        {"prompt": "p", "chosen": "c", "rejected": "r", "sure": 0.25},
        "must be in [0.5, 1], not 0.25",
    ),
    (reader("ranking"), {"prompt": "p", "completions": ["b"]}, "two completions"),
    (
        reader("ranking"),
        {"prompt": "p", "completions": ["b", "b"]},
        "two completions are equal",
    ),
    (reader("ranking"), {"prompt": "p", "completions": ["b", 3]}, "item 2"),
    (reader("ranking"), {"prompt": "p", "completions": "b"}, "a non-empty list, not text"),
    (reader("feedback"), {"prompt": "p", "completion": "c", "label": "yes"}, "number, not text"),
    (
        reader("feedback"),
        {"prompt": "p", "completion": "c", "label": float("nan")},
        "NaN",
    ),
    (reader("question"), {"question": "q", "context": "ab"}, "no field 'answers'"),
    (
        reader("question"),
        {"question": "q", "context": "ab", "answers": {"text": ["b"], "answer_start": [0]}},
        "the answer 'b' is not at character 0 of the context, which has 'a' there",
    ),
    (
        reader("question"),
        {"question": "q", "context": "ab", "answers": {"text": ["b"], "answer_start": []}},
        "1 answers, but 0 positions",
    ),
    (reader("question"), {"question": "q", "context": "ab", "answers": ["b"]}, "must be objects"),
    (
        reader("question"),
        {"question": "q", "context": "ab", "answers": {"text": "b", "answer_start": "1"}},
        "a position in characters",
    ),
    (reader("prompt"), {"prompt": "p", "answer": 4}, "'answer' must be text, not a number"),
    (
        reader("label", text="t"),
        {"t": ["t", "u"], "label": ["l", "m"]},
        "data/record=tags data.columns.tokens=t data.columns.tags=label",
    ),
    (reader("label"), {"text": "t", "label": 4}, "data/record=rating data.columns.rating=label"),
    (reader("choice"), {"prompt": "p", "choices": ["b", "c"], "answer": 2}, "an index from 0 to 1"),
    (reader("choice"), {"prompt": "p", "choices": ["b", "c"], "answer": "C"}, "one of 'A', 'B'"),
    (reader("choice"), {"prompt": "p", "choices": ["b", "c"], "answer": True}, "not True"),
    (reader("choice"), {"prompt": "p", "choices": ["b"], "answer": 0}, "two or more different"),
    (
        reader("choice"),
        {"prompt": "p", "choices": ["b", "b"], "answer": 0},
        "two or more different",
    ),
    (reader("choice"), {"prompt": "p", "choices": "b", "answer": 0}, "must be a list of texts"),
    (reader("choice"), {"prompt": "p", "choices": ["b", 2], "answer": 0}, "choice 2 of field"),
    (reader("tags"), {"tokens": ["t", "u"], "tags": ["l"]}, "2 words, but 1 tags"),
    (reader("tags"), {"tokens": ["t", "u"], "tags": "l"}, "a non-empty list"),
    (reader("rating"), {"text": "t", "rating": "good"}, "a finite number, not text"),
    (
        reader("alpaca_chat"),
        {"instruction": "i", "output": "o", "history": [["h"]]},
        "item 1 of field 'history' must be a pair",
    ),
    (
        reader("alpaca_chat"),
        {"instruction": "i", "output": "o", "history": "h"},
        "the history must be a list of pairs",
    ),
    (reader("chat"), {"messages": []}, "a non-empty list of messages"),
    (reader("chat"), {"messages": ["hi"]}, "message 1 of field 'messages' must be an object"),
    (reader("chat"), {"messages": [{"role": "robot", "content": "hi"}]}, "role 'robot'"),
    (reader("chat"), {"messages": [{"role": ["user"], "content": "hi"}]}, "unknown role"),
    (reader("chat"), {"messages": [{"content": "hi"}]}, "role None"),
    (reader("chat"), {"messages": [{"role": "user", "content": "hi"}]}, "no message has"),
    (reader("chat"), {"messages": [{"role": "user"}, HELLO]}, "content of message 1"),
]


def read_one(config: RowFileConfig, fields: dict, tmp_path: Path) -> Record | BadRow:
    config.path = str(tmp_path / "rows.jsonl")
    Path(config.path).write_text(json.dumps(fields) + "\n")
    record, *_unused = rows_of(config)
    return record


@pytest.mark.parametrize(("config", "fields", "record"), GOOD)
def test_a_good_row_becomes_a_record_of_the_declared_kind(
    config: RowFileConfig, fields: dict, record: Record, tmp_path: Path
) -> None:
    assert read_one(config, fields, tmp_path) == record
    assert kind_of(config) is type(record)


@pytest.mark.parametrize(("config", "fields", "reason"), BAD)
def test_a_bad_row_is_reported_with_its_reason(
    config: RowFileConfig, fields: dict, reason: str, tmp_path: Path
) -> None:
    bad = read_one(config, fields, tmp_path)
    assert isinstance(bad, BadRow)
    assert bad.place.endswith("rows.jsonl:1")
    assert reason in bad.reason
