"""What a template leaves out is found by changing it: the text stays the same."""

from collections.abc import Sequence
from typing import Any

import pytest
import tiny
from tool_chats import CALL, CHATML, TOOL, template_of

from etude.data import chat_template
from etude.data.rendering import Script, TemplateError
from etude.data.unwritten import unwritten, unwritten_in
from etude.records import Chat, Message, Preference, Prompt, Text

PLAIN = tiny.BYTES.with_template(chat_template.DEFAULT, chat_template.LITERALS)
ASKED = Message("user", "Weather?")
CALLED = Message("assistant", "", {"tool_calls": [CALL]})
TOLD = Message("tool", "sunny", {"tool_call_id": "c1"})
SAID = Message("assistant", "Sunny.")
LOST = "the chat template does not write the "


def lost(name: str, messages: Sequence[Message], tools: Sequence[Any] = ()) -> Any:
    tokenizer = PLAIN if name == "plain" else PLAIN.with_template(template_of(name), CHATML)
    damaged, reasons = unwritten(Script(tokenizer, messages, tools))
    return damaged, [reason.removeprefix(LOST) for reason in reasons]


def test_a_plain_conversation_loses_nothing_and_is_rendered_once_only() -> None:
    assert lost("plain", (Message("system", "Be brief."), ASKED, SAID)) == (set(), [])
    broken = PLAIN.with_template("{{ raise_exception('rendered') }}", {})
    assert unwritten(Script(broken, (ASKED, SAID))) == (set(), [])


def test_calls_reasoning_and_tools_are_lost_by_a_template_that_does_not_know_them() -> None:
    thought = Message("assistant", "", {"reasoning_content": "Hm."})
    assert lost("plain", (ASKED, CALLED, TOLD, thought), [TOOL]) == (
        {1, 3},
        [
            "tool_calls of messages of the role assistant",
            "tool_call_id of messages of the role tool",
            "reasoning_content of messages of the role assistant",
            "tools",
        ],
    )


def test_a_template_that_knows_them_loses_only_the_id_of_the_call() -> None:
    both = Message("assistant", "", {"tool_calls": [CALL], "reasoning_content": "Ask."})
    for name in ("qwen3", "glm4moe"):
        assert lost(name, (ASKED, both, TOLD, SAID), [TOOL]) == (
            set(),
            ["tool_call_id of messages of the role tool"],
        )


def test_a_call_stays_without_its_reasoning_but_an_answer_is_more_than_nothing() -> None:
    both = Message("assistant", "", {"tool_calls": [CALL], "reasoning_content": "Ask."})
    damaged, reasons = lost("qwen2_5", (ASKED, both))
    assert (damaged, reasons) == (set(), ["reasoning_content of messages of the role assistant"])
    answer = Message("assistant", "Sunny.", {"reasoning_content": "Look."})
    assert lost("qwen2_5", (ASKED, answer))[0] == set()


def test_contents_that_a_template_drops_are_found() -> None:
    """Llama 3.1 drops what is said beside a call, Phi-3 all roles that it does not know."""
    both = Message("assistant", "I look.", {"tool_calls": [CALL]})
    assert lost("llama3_1", (ASKED, both))[1] == ["content of messages of the role assistant"]
    damaged, reasons = lost("phi3", (ASKED, CALLED, TOLD, SAID))
    assert damaged == {1}
    assert "content of messages of the role tool" in reasons
    first_only = "{% for m in messages %}{% if m.role != 'system' or loop.first %}{{ m.content }}\
{% endif %}{% endfor %}"
    said = (Message("system", "a"), ASKED, Message("system", "b"), SAID)
    tokenizer = PLAIN.with_template(first_only, {})
    assert unwritten(Script(tokenizer, said))[1] == [
        LOST + "content of messages of the role system"
    ]


def test_the_prompts_of_records_are_examined_and_other_samples_are_not() -> None:
    chat = Chat((ASKED,), (TOOL,))
    for record in (Prompt(chat), Preference(chat, "a", "b")):
        assert unwritten_in(PLAIN, record) == [LOST + "tools"]
    for record in (Prompt("a"), Text("a"), chat):
        assert unwritten_in(PLAIN, record) == []


def test_a_completion_whose_call_is_lost_is_refused() -> None:
    with pytest.raises(TemplateError, match=r"completion is lost: .* write the tool_calls"):
        chat_template.exchange(PLAIN, "Weather?", CALLED)
    qwen = PLAIN.with_template(template_of("qwen3"), CHATML)
    _, after = chat_template.exchange(qwen, "Weather?", CALLED)
    assert '"name": "weather"' in qwen.decode(after)
