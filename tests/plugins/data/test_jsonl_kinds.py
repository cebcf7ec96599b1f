import json
from pathlib import Path

import pytest

from etude.config.registry import build, plugin_of
from etude.data.readers import FileConfig
from etude.plugins.data.jsonl import JsonlConfig
from etude.plugins.data.jsonl_alpaca import JsonlAlpacaConfig
from etude.plugins.data.jsonl_chats import JsonlChatsConfig
from etude.plugins.data.jsonl_feedback import JsonlFeedbackConfig
from etude.plugins.data.jsonl_labels import JsonlLabelsConfig
from etude.plugins.data.jsonl_pairs import JsonlPairsConfig
from etude.plugins.data.jsonl_preferences import JsonlPreferencesConfig
from etude.plugins.data.jsonl_prompts import JsonlPromptsConfig
from etude.plugins.data.jsonl_rankings import JsonlRankingsConfig
from etude.records import (
    BadRow,
    Chat,
    Feedback,
    Labelled,
    Message,
    Pair,
    Preference,
    Prompt,
    Ranking,
    Record,
    Text,
)

HELLO = {"role": "assistant", "content": "hello"}
SHAREGPT = {
    "messages_column": "conversations",
    "role_column": "from",
    "content_column": "value",
}
GOOD: list[tuple[FileConfig, dict, Record]] = [
    (JsonlConfig(), {"text": "a"}, Text("a")),
    (JsonlConfig(text_column="body"), {"body": "a", "text": 3}, Text("a")),
    (JsonlPairsConfig(), {"source": "s", "target": "t"}, Pair("s", "t")),
    (JsonlAlpacaConfig(), {"instruction": "i", "input": "t", "output": "o"}, Pair("i\n\nt", "o")),
    (JsonlAlpacaConfig(), {"instruction": "i", "input": "", "output": "o"}, Pair("i", "o")),
    (JsonlAlpacaConfig(), {"instruction": "i", "output": "o"}, Pair("i", "o")),
    (
        JsonlPreferencesConfig(prompt_column="q"),
        {"q": "p", "chosen": "c", "rejected": "r"},
        Preference("p", "c", "r"),
    ),
    (
        JsonlPreferencesConfig(margin_column="by", probability_column="sure"),
        {"prompt": "p", "chosen": "c", "rejected": "r", "by": 2, "sure": 0.75},
        Preference("p", "c", "r", 2.0, 0.75),
    ),
    (JsonlRankingsConfig(), {"prompt": "p", "completions": ["b", "w"]}, Ranking("p", ("b", "w"))),
    (
        JsonlFeedbackConfig(),
        {"prompt": "p", "completion": "c", "label": True},
        Feedback("p", "c", 1.0),
    ),
    (
        JsonlFeedbackConfig(score_column="score"),
        {"prompt": "p", "completion": "c", "score": -2},
        Feedback("p", "c", -2.0),
    ),
    (JsonlPromptsConfig(), {"prompt": "p", "answer": "4"}, Prompt("p", "4")),
    (JsonlPromptsConfig(), {"prompt": "p", "answer": None}, Prompt("p")),
    (JsonlLabelsConfig(), {"text": "t", "label": "l"}, Labelled("t", "l")),
    (
        JsonlLabelsConfig(),
        {"text": ["t", "u"], "label": ["l", "m"]},
        Labelled(("t", "u"), ("l", "m")),
    ),
    (
        JsonlChatsConfig(),
        {"messages": [{"role": "user", "content": "hi"}, HELLO]},
        Chat((Message("user", "hi"), Message("assistant", "hello"))),
    ),
    (
        JsonlChatsConfig(**SHAREGPT),
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        Chat((Message("user", "hi"), Message("assistant", "hello"))),
    ),
]
BAD: list[tuple[FileConfig, dict, str]] = [
    (JsonlAlpacaConfig(), {"instruction": "i", "input": 3, "output": "o"}, "must be text"),
    (JsonlPairsConfig(), {"source": "s"}, "no field 'target'"),
    (
        JsonlPreferencesConfig(),
        {"prompt": "p", "chosen": "c", "rejected": "c"},
        "two completions are equal",
    ),
    (
        JsonlPreferencesConfig(probability_column="sure"),
        {"prompt": "p", "chosen": "c", "rejected": "r", "sure": 0.25},
        "must be in [0.5, 1], not 0.25",
    ),
    (JsonlRankingsConfig(), {"prompt": "p", "completions": ["b"]}, "two completions"),
    (
        JsonlRankingsConfig(),
        {"prompt": "p", "completions": ["b", "b"]},
        "two completions are equal",
    ),
    (JsonlRankingsConfig(), {"prompt": "p", "completions": ["b", 3]}, "item 2"),
    (JsonlRankingsConfig(), {"prompt": "p", "completions": "b"}, "a non-empty list, not text"),
    (JsonlFeedbackConfig(), {"prompt": "p", "completion": "c", "label": "yes"}, "number, not text"),
    (
        JsonlFeedbackConfig(),
        {"prompt": "p", "completion": "c", "label": float("nan")},
        "NaN",
    ),
    (JsonlPromptsConfig(), {"prompt": "p", "answer": 4}, "'answer' must be text, not a number"),
    (JsonlLabelsConfig(), {"text": ["t", "u"], "label": ["l"]}, "2 words, but 1 labels"),
    (JsonlLabelsConfig(), {"text": ["t", "u"], "label": "l"}, "a non-empty list"),
    (JsonlChatsConfig(), {"messages": []}, "a non-empty list of messages"),
    (JsonlChatsConfig(), {"messages": ["hi"]}, "message 1 of field 'messages' must be an object"),
    (JsonlChatsConfig(), {"messages": [{"role": "robot", "content": "hi"}]}, "role 'robot'"),
    (JsonlChatsConfig(), {"messages": [{"role": ["user"], "content": "hi"}]}, "unknown role"),
    (JsonlChatsConfig(), {"messages": [{"content": "hi"}]}, "role None"),
    (JsonlChatsConfig(), {"messages": [{"role": "user", "content": "hi"}]}, "no message has"),
    (JsonlChatsConfig(), {"messages": [{"role": "user"}, HELLO]}, "content of message 1"),
]


def read_one(config: FileConfig, fields: dict, tmp_path: Path) -> Record | BadRow:
    config.path = str(tmp_path / "rows.jsonl")
    Path(config.path).write_text(json.dumps(fields) + "\n")
    record, *_unused = build(config).records()
    return record


@pytest.mark.parametrize(("config", "fields", "record"), GOOD)
def test_a_good_row_becomes_a_record_of_the_declared_kind(
    config: FileConfig, fields: dict, record: Record, tmp_path: Path
) -> None:
    assert read_one(config, fields, tmp_path) == record
    assert plugin_of(config).declaration.yields is type(record)


@pytest.mark.parametrize(("config", "fields", "reason"), BAD)
def test_a_bad_row_is_reported_with_its_reason(
    config: FileConfig, fields: dict, reason: str, tmp_path: Path
) -> None:
    bad = read_one(config, fields, tmp_path)
    assert isinstance(bad, BadRow)
    assert bad.place.endswith("rows.jsonl:1")
    assert reason in bad.reason
