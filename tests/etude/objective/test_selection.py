"""Samples that cannot be trained on are dropped, and everything that is lost is counted."""

from collections import Counter
from typing import cast

import pytest
import tiny
from tool_chats import TOOL

from etude.data import chat_template
from etude.data.source import Samples
from etude.errors import DataError
from etude.objective.selection import select
from etude.records import Chat, Message, Prompt

ASKED = Chat((Message("system", "s"), Message("user", "a")), (TOOL,))
PROMPTS = cast(Samples, [Prompt("a"), Prompt(ASKED), Prompt("bad"), Prompt("b")])


def reason(prompt: Prompt) -> str | None:
    chat_template.question(PLAIN, prompt.prompt)
    return "bad" if prompt.prompt == "bad" else None


PLAIN = tiny.BYTES.with_template(chat_template.DEFAULT, chat_template.LITERALS)


def test_dropped_samples_and_what_the_template_leaves_out_of_others_are_counted() -> None:
    kept, lost = select(PROMPTS, reason, PLAIN)
    assert [kept[i].prompt for i in range(len(kept))] == ["a", ASKED, "b"]
    assert lost == Counter({"bad": 1, "the chat template does not write the tools": 1})


def test_a_sample_that_the_template_rejects_is_dropped_with_its_reason() -> None:
    kept, lost = select(
        PROMPTS, lambda p: None if chat_template.question(tiny.BYTES, p.prompt) else "", tiny.BYTES
    )
    assert [kept[i].prompt for i in range(len(kept))] == ["a", "bad", "b"]
    assert "the tokenizer has none: choose one, such as template=plain_eos" in next(iter(lost))


def test_data_of_which_nothing_is_left_is_refused_with_all_reasons() -> None:
    with pytest.raises(DataError, match=r"(?s)No sample is left.*4 of 4 samples: why"):
        select(PROMPTS, lambda prompt: "why", PLAIN)
