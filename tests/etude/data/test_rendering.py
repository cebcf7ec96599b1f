"""Templates receive tools, calls and reasoning as in transformers, and nothing else gets in."""

import json
from pathlib import Path

import pytest
import tiny
from tool_chats import CHATML, MESSAGES, ROWS, TOOL, message, template_of

from etude.data.chat_template import conversation
from etude.data.rendering import Script, TemplateError, render
from etude.data.tokenizer import Tokenizer
from etude.records import Message

WITH_TOOLS = ("qwen2_5", "qwen3", "llama3_1", "glm4moe", "nemotron_3_nano_training", "lfm2_2_5")
"""Templates that come with TRL, in different dialects of tool calls."""


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_tools_calls_and_reasoning_have_the_text_of_transformers(name: str) -> None:
    from transformers.utils.chat_template_utils import (
        _alias_reasoning_fields,
        render_jinja_template,
    )

    tokenizer = tiny.BYTES.with_template(template_of(name), CHATML)
    theirs, _ = render_jinja_template(
        [_alias_reasoning_fields(ROWS)],
        [TOOL],
        chat_template=template_of(name),
        **tokenizer.literals,  # type: ignore[arg-type]
    )
    ours = Script(tokenizer, MESSAGES, [TOOL]).text()
    assert ours.translate(dict.fromkeys(map(ord, "\ufdd0\ufdd1\ufdd2"))) == theirs[0]


def test_tools_calls_and_reasoning_have_the_ids_of_transformers(tmp_path: Path) -> None:
    """The schema and the call contain no special token here, as transformers would parse it."""
    from transformers import AutoTokenizer

    rows = json.loads(json.dumps(ROWS).replace(" <eos>", ""))
    tool = json.loads(json.dumps(TOOL).replace(" <eos>", ""))
    for name in ("qwen3", "qwen2_5"):
        tokenizer = tiny.BYTES.with_template(template_of(name), CHATML)
        tokenizer.save(tmp_path / name)
        theirs = AutoTokenizer.from_pretrained(tmp_path / name).apply_chat_template(
            rows, tools=[tool], return_dict=False
        )
        assert conversation(tokenizer, [message(r) for r in rows], [tool]).ids.tolist() == theirs


def test_special_tokens_in_tools_and_calls_stay_text() -> None:
    tokenizer = tiny.BYTES.with_template(template_of("qwen3"), CHATML)
    found = conversation(tokenizer, MESSAGES, [TOOL, {"<bos>": ["<mask>"]}])
    vocab = tokenizer.vocab
    assert {int(i) for i in found.ids} & vocab.special == {vocab.turn_start, vocab.turn_end}
    assert "Paris <eos>" in tokenizer.decode(found.ids, skip_special=False)


def with_ordinary_token(folder: Path, token: str) -> Tokenizer:
    """A tokenizer with an added token that is not special, as Qwen's <think>."""
    tiny.BYTES.with_template(template_of("qwen3"), CHATML).save(folder)
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    new = {"id": tiny.BYTES.vocab.size, "content": token, "special": False}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    saved["added_tokens"].append({**new, **flags})
    file.write_text(json.dumps(saved))
    return Tokenizer.load(folder)


def test_ordinary_tokens_are_tokens_in_what_the_assistant_says(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = with_ordinary_token(tmp_path, "<think>")
    said = (Message("user", "Why?"), Message("assistant", "<think>\nHm\n</think>\n\nSo."))
    found = conversation(tokenizer, said)
    rows = [one.as_row() for one in said]
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(rows, return_dict=False)
    assert found.ids.tolist() == theirs
    think = tiny.BYTES.vocab.size
    assert found.ids.tolist().count(think) == 1
    asked = conversation(tokenizer, (Message("user", "<think>"), said[1]))
    assert asked.ids.tolist().count(think) == 1


@pytest.mark.parametrize("role", ["tool", "function", "observation", "ipython"])
def test_the_role_of_a_tool_gets_a_name_that_the_template_knows(role: str) -> None:
    compares = "{% if messages[0].role == 'tool' %}[{{ messages[0].content }}]{% endif %}"
    prints = "{% for m in messages %}{{ m.role }}:{{ m['function'] }}{{ m.content }};{% endfor %}"
    said = [Message(role, "sunny")]
    assert Script(tiny.BYTES.with_template(compares, {}), said).text() == "[sunny]"
    assert Script(tiny.BYTES.with_template(prints, {}), said).text() == f"{role}:sunny;"


def test_without_a_template_a_conversation_is_refused_with_the_way_out() -> None:
    with pytest.raises(TemplateError, match=r"has none: choose one, such as template=plain_eos"):
        Script(tiny.BYTES, MESSAGES).text()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages.append(1) }}", "append"),
        ("{{ ''.__class__.__mro__ }}", "__class__"),
        ("{{ raise_exception('no tools') }}", "no tools"),
        ("{{ messages[9].content + 'a' }}", "no element 9"),
        ("{% for", "end of template"),
        ("{{ strftime_now('%Y') }}", "strftime_now"),
    ],
)
def test_forbidden_operations_of_a_template_are_reported(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        render(template, [{"role": "user", "content": "a"}], {})
