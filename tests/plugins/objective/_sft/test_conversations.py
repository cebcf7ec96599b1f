"""What of a conversation is trained on, what is left out, and that it is said."""

from collections import Counter
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from etude.data import chat_template
from etude.errors import DataError
from etude.plugins.objective._sft.conversations import (
    ConversationEncoder,
    TrainingSpan,
    TrainOn,
    pack_rows,
    survey,
)
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


def cutter(
    train_on: TrainOn = TrainOn.all, seq_len: int = 128, **given: Any
) -> ConversationEncoder:
    values: dict[str, Any] = {
        "tokenizer": PLAIN,
        "train_on": train_on,
        "seq_len": seq_len,
        "sources": False,
    }
    return ConversationEncoder(**(values | given))


def learned(part: TrainingSpan) -> str:
    return PLAIN.decode(part.ids[part.trained], skip_special=False)


@pytest.mark.parametrize(
    ("train_on", "wanted"),
    [
        (TrainOn.all, "bb<turn_end>ddd<turn_end>"),
        (TrainOn.last, "ddd<turn_end>"),
        (TrainOn.everything, PLAIN.decode(WRITTEN[1:], skip_special=False)),
    ],
)
def test_the_turns_asked_for_are_learned_and_nothing_else(train_on: TrainOn, wanted: str) -> None:
    (part,) = cutter(train_on).parts(TWICE)
    assert part.ids.tolist() == WRITTEN.tolist()
    assert learned(part) == wanted
    assert part.answer is not None
    prompt, answer = part.answer
    assert [*prompt, *answer] == WRITTEN[:-1].tolist()
    assert PLAIN.decode(answer) == "ddd"


@pytest.mark.parametrize("train_on", [TrainOn.all, TrainOn.last])
def test_with_a_source_each_answer_follows_all_that_was_said(train_on: TrainOn) -> None:
    parts = cutter(train_on, sources=True).parts(TWICE)
    assert [learned(part) for part in parts] == (
        ["bb<turn_end>", "ddd<turn_end>"] if train_on is TrainOn.all else ["ddd<turn_end>"]
    )
    for part, n in zip(parts[::-1], (3, 1), strict=False):
        assert part.ids[~part.trained].tolist() == chat_template.prompt(PLAIN, TWICE.messages[:n])


def test_a_conversation_too_long_keeps_its_start_and_says_what_it_lost() -> None:
    first = int((chat_template.conversation(PLAIN, TWICE.messages).turns > 0).argmax())
    told: Counter[str] = Counter()
    (part,) = cutter(seq_len=first + 2).parts(TWICE, told)
    assert part.ids.tolist() == WRITTEN[: first + 3].tolist()
    assert learned(part) == "bb<turn_end>"
    assert part.answer is None  # the last was cut off
    assert +told == {"answers cut off": 1}
    told.clear()
    (part,) = cutter(seq_len=first).parts(TWICE, told)
    assert learned(part) == "b"
    assert +told == {"answers cut off": 1, "answers cut short": 1}
    assert cutter(seq_len=first - 1).parts(TWICE) == []


def test_a_source_too_long_keeps_its_first_token_and_its_end() -> None:
    told: Counter[str] = Counter()
    (part,) = cutter(TrainOn.last, seq_len=5, sources=True).parts(TWICE, told)
    whole = chat_template.prompt(PLAIN, TWICE.messages[:3])
    assert part.ids[~part.trained].tolist() == [whole[0], *whole[-4:]]
    assert +told == {"questions cut short": 1}
    told.clear()
    (part,) = cutter(TrainOn.last, seq_len=3, sources=True).parts(TWICE, told)
    assert (learned(part), part.answer) == ("ddd", None)
    assert +told == {"questions cut short": 1, "answers cut short": 1}


def test_what_there_is_nothing_to_learn_from_is_left_out_and_counted() -> None:
    chats = [TWICE, Chat((Message("user", "a" * 500), Message("assistant", "b"))), TWICE]
    rows, told = survey(chats, cutter(), pack=False)
    assert [len(row) for row in rows] == [1, 1]
    assert told == {"conversations without a token to train on": 1, "answers cut off": 1}


def test_a_conversation_the_template_refuses_is_counted_with_its_reason() -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    with_template = PLAIN.with_template(template + chat_template.DEFAULT, {})
    chats = [TWICE, Chat((Message("system", "s"), *TWICE.messages))]
    rows, told = survey(chats, cutter(tokenizer=with_template), pack=False)
    assert len(rows) == 1
    assert list(told.values()) == [1]
    assert "no system" in next(iter(told))


def test_no_token_to_train_on_is_refused_at_the_start() -> None:
    with pytest.raises(
        DataError, match=r"None of the 2 conv(?s:.)*2 answers cut off(?s:.)*seq_len=3"
    ):
        survey([TWICE, TWICE], cutter(TrainOn.last, seq_len=3), pack=False)
    with pytest.raises(DataError, match="without a token to train on"):
        survey([Chat(TWICE.messages[:1])], cutter(), pack=False)


def test_an_answer_without_a_stop_is_refused_at_the_start() -> None:
    """GLM closes a turn with the next one's header, so that it would never learn to stop."""
    endless = chat_template.DEFAULT.replace("<turn_end>", "")
    with pytest.raises(DataError, match=r"(?s)ends an answer with .*never stop.*template="):
        cutter(tokenizer=PLAIN.with_template(endless, {})).parts(TWICE)


def test_a_doubled_bos_is_refused_at_the_start() -> None:
    doubled = PLAIN.with_template("{{ bos_token }}" + chat_template.DEFAULT, {})
    with pytest.raises(DataError, match="bos twice in a row"):
        cutter(tokenizer=doubled).parts(TWICE)


@given(st.lists(st.integers(1, 20), max_size=40))
def test_packing_loses_nothing_and_fills_rows(lengths: list[int]) -> None:
    rows = pack_rows(lengths, 20)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in row) for row in rows]
    assert all(n <= 20 for n in filled)
    assert sum(n <= 10 for n in filled) <= 1  # two of them would have gone together
