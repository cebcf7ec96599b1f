"""The prompt is that of the record."""

from typing import Any

import tiny

from etude.config.registry import build
from etude.evaluation.item import cases_of
from etude.evaluation.prompting import Examples
from etude.records import Chat, Message, Prompt


def test_the_prompt_is_asked_as_it_is() -> None:
    chat = Chat((Message("system", "Be brief."), Message("user", "2+2?")))
    cases: Any = cases_of([Prompt("2+2=", "4"), Prompt(chat, "4")])
    made = build(tiny.part("prompting", "zero_shot"), Examples(cases, 0))
    assert [made.prompt(case) for case in cases] == [case.record.prompt for case in cases]
