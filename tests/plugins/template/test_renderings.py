"""Templates render like the original ones: compared with literal texts and with transformers."""

from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.config.plugin_files import options
from etude.config.registry import build
from etude.data.chat_template import conversation, prompt
from etude.data.rendering import TemplateError, render
from etude.data.tokenizer import Tokenizer
from etude.records import Message

TWO_TURNS = (
    Message("user", "Hi there"),
    Message("assistant", "Hello!"),
    Message("user", "Why?"),
    Message("assistant", "Because."),
)
SYSTEM = (Message("system", "Be brief."), *TWO_TURNS[:2])
NAMED = {"bos_token": "<s>", "eos_token": "</s>"}
ROLES = ("plain", "plain_eos", "chatml", "llama3", "bare")
"""Templates that accept a system message."""

RENDERED = {
    "plain": "<s><turn_start>user\nHi there<turn_end>\n<turn_start>assistant\nHello!<turn_end>\n"
    "<turn_start>user\nWhy?<turn_end>\n<turn_start>assistant\nBecause.<turn_end>\n",
    "plain_eos": "<s>user\nHi there</s>\nassistant\nHello!</s>\n"
    "user\nWhy?</s>\nassistant\nBecause.</s>\n",
    "bare": "<s>Hi there<sep>Hello!</s>Why?<sep>Because.</s>",
    "chatml": "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>\n",
    "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nBecause.<|eot_id|>",
    "mistral": "<s>[INST] Hi there[/INST] Hello!</s>[INST] Why?[/INST] Because.</s>",
    "gemma": "<s><start_of_turn>user\nHi there<end_of_turn>\n<start_of_turn>model\nHello!"
    "<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nBecause."
    "<end_of_turn>\n",
}
WITH_SYSTEM = {
    "plain": "<s><turn_start>system\nBe brief.<turn_end>\n<turn_start>user\nHi there<turn_end>\n",
    "plain_eos": "<s>system\nBe brief.</s>\nuser\nHi there</s>\n",
    "bare": "<s>Be brief.<sep>Hi there<sep>",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>",
    "mistral": "<s>[INST] Be brief.\n\nHi there[/INST]",
}
OPENED = {
    "plain": "<turn_start>assistant\n",
    "plain_eos": "assistant\n",
    "bare": "<sep>",
    "chatml": "<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "",
    "gemma": "<start_of_turn>model\n",
}
ANSWERS = {
    "plain": "Hello!<turn_end>",
    "plain_eos": "Hello!<eos>",
    "bare": "Hello!<eos>",
    "chatml": "Hello!<|im_end|>",
    "llama3": "Hello!<|eot_id|>",
    "mistral": " Hello!<eos>",
    "gemma": "Hello!<end_of_turn>",
}


def with_template(name: str, tokenizer: Tokenizer = tiny.BYTES) -> Tokenizer:
    return build(default(f"template/{name}"), tokenizer)


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [vars(message) for message in messages]


def text_of(name: str, messages: tuple[Message, ...], **options: Any) -> str:
    template = with_template(name).template
    assert template is not None
    return render(template, as_dicts(messages), NAMED, **options)


def test_every_template_has_an_expected_rendering() -> None:
    assert {*options("template")} == RENDERED.keys() == OPENED.keys() == ANSWERS.keys()


@pytest.mark.parametrize("name", RENDERED)
def test_a_conversation_is_rendered_in_the_format_of_its_model(name: str) -> None:
    assert text_of(name, TWO_TURNS) == RENDERED[name]
    first = text_of(name, TWO_TURNS[:2])
    assert RENDERED[name].startswith(first)
    rendered_prompt = text_of(name, TWO_TURNS[:1], before_answer=True)
    assert first.startswith(rendered_prompt)
    assert rendered_prompt.endswith(OPENED[name])


@pytest.mark.parametrize("name", WITH_SYSTEM)
def test_the_system_message_is_rendered_first(name: str) -> None:
    assert text_of(name, SYSTEM[:2]) == WITH_SYSTEM[name]


def test_gemma_rejects_a_system_message() -> None:
    with pytest.raises(TemplateError, match="System role not supported"):
        text_of("gemma", SYSTEM)


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_roles_must_alternate(name: str) -> None:
    with pytest.raises(TemplateError, match="must alternate"):
        text_of(name, (TWO_TURNS[0], TWO_TURNS[2]))


@pytest.mark.parametrize("name", RENDERED)
def test_an_answer_is_the_text_after_the_header_and_the_end_token(name: str) -> None:
    tokenizer = with_template(name)
    found = conversation(tokenizer, TWO_TURNS)
    answers = [
        tokenizer.decode(found.ids[found.turns == turn], skip_special=False) for turn in (1, 2)
    ]
    assert answers == [ANSWERS[name], ANSWERS[name].replace("Hello!", "Because.")]
    for turn in (1, 2):
        assert found.ids[found.turns == turn][-1] in tokenizer.vocab.stops


@pytest.mark.parametrize("name", RENDERED)
def test_a_prompt_has_the_first_ids_of_the_conversation(name: str) -> None:
    tokenizer = with_template(name)
    found = conversation(tokenizer, TWO_TURNS)
    for n, turn in ((1, 1), (3, 2)):
        before = found.ids[: int((found.turns == turn).argmax())].tolist()
        assert prompt(tokenizer, TWO_TURNS[:n]) == before


@pytest.mark.parametrize("name", RENDERED)
def test_the_special_tokens_of_a_template_are_single_ids(name: str) -> None:
    """This also holds for a tokenizer that had no such token; its ids do not change."""
    tokenizer = with_template(name)
    assert tokenizer.vocab == tiny.BYTES.with_template("", {}).vocab
    special = set(conversation(tokenizer, TWO_TURNS).ids.tolist()) & tokenizer.vocab.special
    assert (
        special
        == {
            "plain": {tokenizer.vocab.bos, tokenizer.vocab.turn_start, tokenizer.vocab.turn_end},
            "plain_eos": {tokenizer.vocab.bos, tokenizer.vocab.eos},
            "bare": {tokenizer.vocab.bos, tokenizer.vocab.sep, tokenizer.vocab.eos},
            "chatml": {tokenizer.vocab.turn_start, tokenizer.vocab.turn_end},
            "llama3": {
                getattr(tokenizer.vocab, role) for role in ("bos", "turn_start", "turn_end", "sep")
            },
            "mistral": {
                getattr(tokenizer.vocab, role) for role in ("bos", "turn_start", "sep", "eos")
            },
            "gemma": {tokenizer.vocab.bos, tokenizer.vocab.turn_start, tokenizer.vocab.turn_end},
        }[name]
    )


@pytest.mark.parametrize("kind", ["byte", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("name", RENDERED)
def test_transformers_renders_and_encodes_identically(name: str, kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    corpus = ["Hi there Hello! Why? Because. user assistant model Be brief."] * 4
    source = build(default(f"tokenizer/{kind}", **({} if kind == "byte" else {"vocab_size": 500})))
    tokenizer = with_template(name, source.build(lambda: iter(corpus)))
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert Tokenizer.load(tmp_path).template == tokenizer.template
    for messages in (TWO_TURNS, SYSTEM) if name in ROLES else (TWO_TURNS,):
        found = theirs.apply_chat_template(as_dicts(messages), tokenize=False)
        assert found == render(tokenizer.template or "", as_dicts(messages), tokenizer.literals)
        ids = theirs.apply_chat_template(as_dicts(messages), return_dict=False)
        assert ids == conversation(tokenizer, messages).ids.tolist()
        rendered_prompt = theirs.apply_chat_template(
            as_dicts(messages[:-1]), add_generation_prompt=True, return_dict=False
        )
        assert rendered_prompt == prompt(tokenizer, messages[:-1])
