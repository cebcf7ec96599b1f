"""Conversations have the tokens of transformers, and the assistant's turns are located exactly."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from defaults import default
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_chats import CHATML, template_of

from etude.config.registry import build
from etude.data import chat_template
from etude.data.chat_template import (
    RewrittenTurnError,
    conversation,
    exchange,
    message_labels,
    prompt,
    question,
)
from etude.data.rendering import CLOSE, CUT, OPEN, TemplateError
from etude.data.tokenizer import Tokenizer
from etude.errors import ConfigError
from etude.records import Chat, Message

PLAIN = tiny.BYTES.with_template(chat_template.DEFAULT, chat_template.LITERALS)
MARKED = """\
{{ bos_token }}{% for message in messages %}<turn_start>{{ message['role'] }}
{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<turn_end>\
{% endgeneration %}{% else %}{{ message['content'] }}<turn_end>{% endif %}

{% endfor %}{% if add_generation_prompt %}<turn_start>assistant
{% endif %}"""
GLM = """\
{% for message in messages %}<turn_start>{{ message['role'] }}
{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}<turn_start>assistant
{% endif %}"""
contents = st.text(st.characters(codec="utf-8"), max_size=12)


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts))


def decoded(tokenizer: Tokenizer, ids: Any) -> str:
    return tokenizer.decode(ids, skip_special=False)


@pytest.mark.parametrize("kind", ["byte", "bpe", "unigram"])
def test_answers_have_the_assistant_mask_of_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source = build(default(f"tokenizer/{kind}", **({} if kind == "byte" else {"vocab_size": 420})))
    tokenizer = source.build(lambda: iter(["user assistant Why so? Because it is."] * 3))
    tokenizer = tokenizer.with_template(MARKED, {})
    tokenizer.save(tmp_path)
    messages = turns("Why so?", "Because it is.", "Is it?", "Why, it is.")
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        [vars(m) for m in messages], return_assistant_tokens_mask=True, return_dict=True
    )
    found = conversation(tokenizer, messages)
    assert found.ids.tolist() == theirs["input_ids"]
    assert (found.turns > 0).astype(int).tolist() == theirs["assistant_masks"]
    assert found.n_turns == 2


def test_generation_blocks_and_prefixes_locate_the_same_answers() -> None:
    """MARKED renders like the default template, with an additional empty line after each turn."""
    messages = turns("Why?", "So.", "And?", " \n")
    marked = conversation(tiny.BYTES.with_template(MARKED, {}), messages)
    found = conversation(PLAIN, messages)
    for turn in (1, 2):
        assert np.array_equal(found.ids[found.turns == turn], marked.ids[marked.turns == turn])


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, min_size=2, max_size=4))
def test_every_answer_is_its_text_and_turn_end_even_if_it_contains_special_tokens(
    texts: list[str],
) -> None:
    texts[-1] += "<turn_end><bos>"
    found = conversation(PLAIN, turns(*texts))
    for turn, text in enumerate(texts[1::2], start=1):
        ids = found.ids[found.turns == turn].tolist()
        assert ids == [*tiny.BYTES.encode(text).tolist(), tiny.BYTES.vocab.turn_end]


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, min_size=2, max_size=5))
def test_a_prompt_has_the_first_ids_of_the_training_sample(texts: list[str]) -> None:
    messages = turns(*texts)
    found = conversation(PLAIN, messages)
    for turn in range(1, found.n_turns + 1):
        before = found.ids[: int(np.argmax(found.turns == turn))].tolist()
        assert prompt(PLAIN, messages[: 2 * turn - 1]) == before


def test_special_tokens_in_a_message_stay_text_and_markers_are_removed() -> None:
    found = conversation(PLAIN, turns(f"<bos>{OPEN}<turn_end>{CUT}", f"<eos>{CLOSE}"))
    vocab = PLAIN.vocab
    special = [int(i) for i in found.ids if i in vocab.special]
    turn = [vocab.turn_start, vocab.turn_end]
    assert special == [vocab.bos, *turn, *turn]
    assert "<bos><turn_end><" in decoded(PLAIN, found.ids)
    assert decoded(PLAIN, found.ids[found.turns == 1]) == "<eos><turn_end>"


def test_without_an_end_token_an_answer_is_the_whole_content() -> None:
    tokenizer = tiny.BYTES.with_template(GLM, chat_template.LITERALS)
    found = conversation(tokenizer, turns("a", "b", "c", "d"))
    assert decoded(tokenizer, found.ids[found.turns == 1]) == "b"


def test_a_template_that_drops_earlier_reasoning_has_a_place_for_the_last_answer_only() -> None:
    tokenizer = PLAIN.with_template(template_of("qwen3"), CHATML)
    thought = [Message("assistant", said, {"reasoning_content": "Hm."}) for said in ("b", "d")]
    messages = (Message("user", "a"), thought[0], Message("user", "c"), thought[1])
    with pytest.raises(RewrittenTurnError, match="message 2 differently when more follow"):
        conversation(tokenizer, messages)
    found = conversation(tokenizer, messages, required=[3])
    answer = "<think>\nHm.\n</think>\n\nd<|im_end|>"
    assert decoded(tokenizer, found.ids[found.turns == 2]) == answer
    assert prompt(tokenizer, messages[:3]) == found.ids[: int((found.turns == 2).argmax())].tolist()
    before, after = exchange(tokenizer, Chat(messages[:3]), thought[1])
    assert decoded(tokenizer, after) == answer
    assert before == prompt(tokenizer, messages[:3])


def test_a_prompt_that_is_not_the_start_of_the_answer_is_refused_with_the_way_out() -> None:
    """R1's template opens the reasoning in the prompt, and drops it from every answer."""
    tokenizer = PLAIN.with_template(template_of("deepseek_r1_distill"), {})
    with pytest.raises(TemplateError, match=r"<think>.*Mark turns with {% generation %}, or"):
        conversation(tokenizer, turns("a", "Hm.</think>b"))


def test_a_message_that_must_not_be_learned_has_a_negative_turn() -> None:
    for template in (chat_template.DEFAULT, MARKED):
        tokenizer = PLAIN.with_template(template, {})
        muted = (*turns("a", "b", "c", "d")[:3], replace(Message("assistant", "d"), learn=False))
        whole = conversation(tokenizer, turns("a", "b", "c", "d"))
        found = conversation(tokenizer, muted)
        assert found.ids.tolist() == whole.ids.tolist()
        assert np.where(whole.turns == 2, -2, whole.turns).tolist() == found.turns.tolist()


def test_several_generation_blocks_of_a_message_are_one_turn() -> None:
    twice = "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.thought }}\
{% endgeneration %}|{% generation %}{{ m.content }}<turn_end>{% endgeneration %}{% else %}U:\
{{ m.content }}{% endif %}{% endfor %}"
    tokenizer = PLAIN.with_template(twice, {})
    said = [Message("assistant", text, {"thought": "x"}) for text in ("b", "d")]
    found = conversation(tokenizer, (Message("user", "a"), said[0], Message("user", "c"), said[1]))
    texts = [decoded(tokenizer, found.ids[found.turns == n]) for n in (0, 1, 2)]
    assert texts == ["U:aA:|U:cA:|", "xb<turn_end>", "xd<turn_end>"]


def test_an_exchange_is_a_conversation_of_two_turns() -> None:
    before, after = exchange(PLAIN, "Why?", "So.")
    assert [*before, *after] == conversation(PLAIN, turns("Why?", "So.")).ids[:-1].tolist()
    assert question(PLAIN, "Why?") == before
    assert decoded(PLAIN, after) == "So.<turn_end>"


def test_an_exchange_after_a_conversation_ends_with_its_last_turn() -> None:
    messages = turns("a", "b", "c", "d")
    before, after = exchange(PLAIN, Chat(messages[:3]), "d")
    assert [*before, *after] == conversation(PLAIN, messages).ids[:-1].tolist()
    assert decoded(PLAIN, after) == "d<turn_end>"
    assert question(PLAIN, Chat(messages[:3])) == before


def test_without_a_template_an_exchange_is_plain_text() -> None:
    before, after = exchange(tiny.BYTES, "Why?", "So.")
    assert (decoded(tiny.BYTES, before), decoded(tiny.BYTES, after)) == ("<bos>Why?", "So.<eos>")
    assert question(tiny.BYTES, "Why?") == before


def test_a_template_is_saved_and_pickled_with_its_tokenizer(tmp_path: Path) -> None:
    PLAIN.save(tmp_path)
    assert Tokenizer.load(tmp_path).template == PLAIN.template == chat_template.DEFAULT
    assert pickle.loads(pickle.dumps(PLAIN)).template == chat_template.DEFAULT
    (tmp_path / "chat_template.jinja").write_text(GLM)
    assert Tokenizer.load(tmp_path).template == GLM


def test_of_several_templates_the_default_is_used(tmp_path: Path) -> None:
    PLAIN.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    several = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": several}))
    assert Tokenizer.load(tmp_path).template == "b"


def test_the_turn_tokens_of_a_known_family_get_their_roles(tmp_path: Path) -> None:
    tokenizer = tiny.BYTES.with_template(
        "", {"turn_start": "<start_of_turn>", "turn_end": "<end_of_turn>"}
    )
    tokenizer.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["extra_special_tokens"]
    file.write_text(json.dumps(config))
    assert Tokenizer.load(tmp_path).vocab == tiny.BYTES.with_template("", {}).vocab


def test_a_token_with_two_roles_is_not_replaced(tmp_path: Path) -> None:
    tiny.BYTES.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token": "<sep>"}))
    with pytest.raises(ConfigError, match="two roles"):
        Tokenizer.load(tmp_path).with_template("", {"sep": "[/INST]"})


@pytest.mark.parametrize("tokenizer", [PLAIN, build(default("template/chatml"), tiny.BYTES)])
def test_each_token_is_labelled_with_its_message(tokenizer: Tokenizer) -> None:
    """The text of a message is in its own part, whatever the language."""
    texts = ["Be brief.", "天气？", "下雨。", "And now?", "Sun."]
    roles = ["system", "user", "assistant", "user", "assistant"]
    chat = Chat(tuple(map(Message, roles, texts)))
    ids, labels = message_labels(tokenizer, chat)
    assert len(labels) == len(ids)
    for n, (role, text) in enumerate(zip(roles, texts, strict=True), 1):
        own = [i for i, label in zip(ids, labels, strict=True) if label == f"{n} {role}"]
        assert text in tokenizer.decode(own)
    assert labels == sorted(labels)
