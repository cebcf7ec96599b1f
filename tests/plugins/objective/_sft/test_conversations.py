"""Which tokens of a conversation are trained on, and which losses are counted."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tool_chats import CHATML, MESSAGES, TOOL, template_of

from etude.data import chat_template
from etude.errors import DataError
from etude.plugins.objective._sft.conversations import (
    ConversationEncoder,
    TrainingSpan,
    TrainOn,
    encode_conversations,
)
from etude.plugins.objective._sft.packing import pack_rows
from etude.records import Chat, Message

PLAIN = tiny.BYTES.with_template(chat_template.DEFAULT, chat_template.LITERALS)
TWICE = Chat(
    (
        Message("user", "a"),
        Message("assistant", "bb"),
        Message("user", "c"),
        Message("assistant", "ddd"),
    )
)
WRITTEN = chat_template.conversation(PLAIN, TWICE.messages).ids


def encoder(
    train_on: TrainOn = TrainOn.all, seq_len: int = 128, **given: Any
) -> ConversationEncoder:
    values: dict[str, Any] = {
        "tokenizer": PLAIN,
        "train_on": train_on,
        "seq_len": seq_len,
        "sources": False,
    }
    return ConversationEncoder(**(values | given))


def trained_text(span: TrainingSpan) -> str:
    return PLAIN.decode(span.ids[span.trained], skip_special=False)


@pytest.mark.parametrize(
    ("train_on", "wanted"),
    [
        (TrainOn.all, "bb<turn_end>ddd<turn_end>"),
        (TrainOn.last, "ddd<turn_end>"),
        (TrainOn.everything, PLAIN.decode(WRITTEN[1:], skip_special=False)),
    ],
)
def test_exactly_the_configured_turns_are_trained_on(train_on: TrainOn, wanted: str) -> None:
    (span,) = encoder(train_on).spans(TWICE)
    assert span.ids.tolist() == WRITTEN.tolist()
    assert trained_text(span) == wanted
    assert span.answer is not None
    prompt, answer = span.answer
    assert [*prompt, *answer] == WRITTEN[:-1].tolist()
    assert PLAIN.decode(answer) == "ddd"


@pytest.mark.parametrize("train_on", [TrainOn.all, TrainOn.last])
def test_with_a_source_each_answer_follows_the_whole_conversation_so_far(train_on: TrainOn) -> None:
    spans = encoder(train_on, sources=True).spans(TWICE)
    assert [trained_text(span) for span in spans] == (
        ["bb<turn_end>", "ddd<turn_end>"] if train_on is TrainOn.all else ["ddd<turn_end>"]
    )
    for span, n in zip(spans[::-1], (3, 1), strict=False):
        assert span.ids[~span.trained].tolist() == chat_template.prompt(PLAIN, TWICE.messages[:n])


def test_a_long_conversation_keeps_its_start_and_counts_what_is_lost() -> None:
    first = int((chat_template.conversation(PLAIN, TWICE.messages).turns > 0).argmax())
    counts: Counter[str] = Counter()
    (span,) = encoder(seq_len=first + 2).spans(TWICE, counts)
    assert span.ids.tolist() == WRITTEN[: first + 3].tolist()
    assert trained_text(span) == "bb<turn_end>"
    assert span.answer is None  # the last one is beyond the limit
    assert +counts == {"answers beyond data.seq_len": 1}
    counts.clear()
    (span,) = encoder(seq_len=first).spans(TWICE, counts)
    assert trained_text(span) == "b"
    assert +counts == {"answers beyond data.seq_len": 1, "answers truncated": 1}
    assert encoder(seq_len=first - 1).spans(TWICE) == []


def test_a_long_source_keeps_its_first_token_and_its_end() -> None:
    counts: Counter[str] = Counter()
    (span,) = encoder(TrainOn.last, seq_len=5, sources=True).spans(TWICE, counts)
    whole = chat_template.prompt(PLAIN, TWICE.messages[:3])
    assert span.ids[~span.trained].tolist() == [whole[0], *whole[-4:]]
    assert +counts == {"prompts truncated": 1}
    counts.clear()
    (span,) = encoder(TrainOn.last, seq_len=3, sources=True).spans(TWICE, counts)
    assert (trained_text(span), span.answer) == ("ddd", None)
    assert +counts == {"prompts truncated": 1, "answers truncated": 1}


MUTED = Chat((*TWICE.messages[:3], replace(TWICE.messages[3], learn=False)))
THOUGHT = Chat(
    (
        Message("user", "a"),
        Message("assistant", "bb", {"reasoning_content": "x"}),
        Message("user", "c"),
        Message("assistant", "ddd", {"reasoning_content": "y"}),
    )
)
QWEN = PLAIN.with_template(template_of("qwen3"), CHATML)


@pytest.mark.parametrize("sources", [False, True])
@pytest.mark.parametrize(
    ("train_on", "wanted"), [(TrainOn.all, ["bb<turn_end>"]), (TrainOn.last, [])]
)
def test_an_answer_marked_as_not_to_be_learned_is_read_but_not_learned(
    train_on: TrainOn, wanted: list[str], sources: bool
) -> None:
    counts: Counter[str] = Counter()
    spans = encoder(train_on, sources=sources).spans(MUTED, counts)
    assert [trained_text(span) for span in spans] == wanted
    assert +counts == {"answers marked as not to be learned": 1}
    if spans and not sources:
        assert spans[0].ids.tolist() == WRITTEN.tolist()


def test_everything_does_not_include_an_answer_marked_as_not_to_be_learned() -> None:
    (span,) = encoder(TrainOn.everything).spans(MUTED)
    last = PLAIN.decode(span.ids[~span.trained], skip_special=False)
    assert last == "<bos>ddd<turn_end>"


@pytest.mark.parametrize("sources", [False, True])
def test_answers_that_a_template_rewrites_are_learned_one_by_one(sources: bool) -> None:
    """Qwen 3 drops the reasoning of earlier answers: each is learned where it is the last."""
    spans = encoder(tokenizer=QWEN, sources=sources, seq_len=200).spans(THOUGHT)
    for span, n, thought, said in zip(spans, (1, 3), "xy", ("bb", "ddd"), strict=True):
        wanted = f"<think>\n{thought}\n</think>\n\n{said}<|im_end|>"
        assert QWEN.decode(span.ids[span.trained], skip_special=False) == wanted
        context = span.ids[: int(span.trained.argmax())].tolist()
        assert context == chat_template.prompt(QWEN, THOUGHT.messages[:n])
    (last,) = encoder(TrainOn.last, tokenizer=QWEN, sources=sources, seq_len=200).spans(THOUGHT)
    assert last.ids.tolist() == spans[1].ids.tolist()
    assert last.trained.tolist() == spans[1].trained.tolist()


def test_a_rewritten_answer_followed_by_a_question_is_learned_as_the_last() -> None:
    asked = replace(THOUGHT, messages=(*THOUGHT.messages, Message("user", "e")))
    for train_on in (TrainOn.all, TrainOn.last):
        spans = encoder(train_on, tokenizer=QWEN, seq_len=200).spans(asked)
        before = encoder(train_on, tokenizer=QWEN, seq_len=200).spans(THOUGHT)
        assert [s.ids.tolist() for s in spans] == [s.ids.tolist() for s in before]


def test_rewritten_answers_are_separate_rows_and_the_user_is_told() -> None:
    rows, _ = encode_conversations(
        [THOUGHT, THOUGHT], encoder(tokenizer=QWEN, seq_len=200), pack=False
    )
    assert [len(row) for row in rows] == [1] * 4
    assert rows.notes == [
        "split     2 conversations into a row for each answer: the template writes earlier answers "
        "differently"
    ]
    with pytest.raises(DataError, match=r"2 conversations rejected .*train_on=all and last"):
        encode_conversations([THOUGHT] * 2, encoder(TrainOn.everything, tokenizer=QWEN), pack=False)


def test_a_call_is_learned_as_the_template_writes_it() -> None:
    spans = encoder(tokenizer=QWEN, seq_len=900).spans(Chat(MESSAGES, (TOOL,)))
    texts = [QWEN.decode(span.ids[span.trained], skip_special=False) for span in spans]
    call = '{"name": "weather", "arguments": {"city": "Paris <eos>"}}'
    assert texts == [
        f"<think>\nAsk.\n</think>\n\n<tool_call>\n{call}\n</tool_call><|im_end|>"
        "<think>\n\n</think>\n\nIt is sunny.<|im_end|>"
    ]


def test_a_call_that_the_template_does_not_write_is_counted_and_never_learned() -> None:
    counts: Counter[str] = Counter()
    (span,) = encoder(seq_len=200).spans(Chat(MESSAGES, (TOOL,)), counts)
    assert trained_text(span) == "It is sunny.<turn_end>"
    lost = ["tool_calls of messages of the role assistant", "tools"]
    assert all(counts[f"the chat template does not write the {part}"] == 1 for part in lost)


def test_conversations_without_a_trained_token_are_dropped_and_counted() -> None:
    chats = [TWICE, Chat((Message("user", "a" * 500), Message("assistant", "b"))), TWICE]
    rows, counts = encode_conversations(chats, encoder(), pack=False)
    assert [len(row) for row in rows] == [1, 1]
    assert counts == {
        "conversations without a token to train on": 1,
        "answers beyond data.seq_len": 1,
    }


def test_a_conversation_rejected_by_the_template_is_counted_with_the_reason() -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    with_template = PLAIN.with_template(template + chat_template.DEFAULT, {})
    chats = [TWICE, Chat((Message("system", "s"), *TWICE.messages))]
    rows, counts = encode_conversations(chats, encoder(tokenizer=with_template), pack=False)
    assert len(rows) == 1
    assert list(counts.values()) == [1]
    assert "no system" in next(iter(counts))


def test_data_without_a_token_to_train_on_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"None of the 2 conv(?s:.)*2 answers beyond data.seq_len(?s:.)*seq_len=3"
    ):
        encode_conversations([TWICE, TWICE], encoder(TrainOn.last, seq_len=3), pack=False)
    with pytest.raises(DataError, match="without a token to train on"):
        encode_conversations([Chat(TWICE.messages[:1])], encoder(), pack=False)


def test_a_template_without_an_end_of_turn_is_refused() -> None:
    """GLM ends a turn with the header of the next, so a model would never learn to stop."""
    endless = chat_template.DEFAULT.replace("<turn_end>", "")
    with pytest.raises(DataError, match=r"(?s)ends an answer with .*never stop.*template="):
        encoder(tokenizer=PLAIN.with_template(endless, {})).spans(TWICE)


def test_a_doubled_bos_is_refused() -> None:
    doubled = PLAIN.with_template("{{ bos_token }}" + chat_template.DEFAULT, {})
    with pytest.raises(DataError, match="bos twice in a row"):
        encoder(tokenizer=doubled).spans(TWICE)


@given(st.lists(st.integers(1, 20), max_size=40))
def test_packing_loses_nothing_and_fills_rows(lengths: list[int]) -> None:
    rows = pack_rows(lengths, 20)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in row) for row in rows]
    assert all(n <= 20 for n in filled)
    assert sum(n <= 10 for n in filled) <= 1  # two of them would share a row
