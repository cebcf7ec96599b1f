"""Encodes conversations with the chat template of a tokenizer, marking the assistant's turns.

A turn is the content of a `generation` block. Without such a block, it is the text after the
rendered prompt of the preceding turns, up to its closing special token, without trailing white
space. Text is split where a turn begins and ends, so a prompt has the same ids as in training.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from etude.data.rendering import CLOSE, CUT, OPEN, Script, TemplateError, plain
from etude.data.tokenizer import Tokenizer
from etude.data.unwritten import unwritten
from etude.records import Chat, Message

DEFAULT = """\
{{ bos_token }}{% for message in messages %}\
<turn_start>{{ message['role'] }}
{{ message['content'] }}<turn_end>
{% endfor %}{% if add_generation_prompt %}<turn_start>assistant
{% endif %}"""
"""The template used when neither the user nor the tokenizer provides one."""
LITERALS = {"turn_start": "<turn_start>", "turn_end": "<turn_end>"}
"""The special tokens that DEFAULT contains literally."""
ANSWER = "ANSWER"
"""Stands for the content of any answer."""
DEFAULT_OF_BASES = DEFAULT.replace("<turn_start>", "").replace("<turn_end>", "{{ eos_token }}")
"""The default if a run starts from a model without a template, which was trained on eos alone."""


class RewrittenTurnError(TemplateError):
    """The template writes an assistant's message differently when more messages follow."""


@dataclass(frozen=True)
class Conversation:
    """A tokenised conversation.

    `turns` is the number of the assistant's message, from 1, or 0; negative if the message must not
    be trained on. `reasons` names what the template leaves out.
    """

    ids: Int[np.ndarray, " seq"]
    turns: Int[np.ndarray, " seq"]
    reasons: Sequence[str] = ()

    @property
    def n_turns(self) -> int:
        """Number of the last turn of the assistant."""
        return int(abs(self.turns).max(initial=0))


def conversation(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    tools: Sequence[Any] = (),
    *,
    required: Collection[int] | None = None,
) -> Conversation:
    """Encodes a whole conversation. Raises TemplateError if the template rejects it.

    A turn that cannot be located is an error if the index of its message is `required`; by default,
    those of the messages to train on are.
    """
    script = Script(tokenizer, messages, tools)
    answers = assistant_turns(messages)
    damaged, reasons = unwritten(script)
    learned = {i for i in answers if messages[i].learn and i not in damaged}
    numbers = {i: n if i in learned else -n for n, i in enumerate(answers, start=1)}
    ids: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    for place, text in _split_turns(script, learned if required is None else required):
        part = _encode(tokenizer, text, at_start=not ids)
        ids.append(part)
        turns.append(np.full(len(part), 0 if place is None else numbers[place]))
    return Conversation(np.concatenate(ids), np.concatenate(turns), reasons)


def message_labels(tokenizer: Tokenizer, chat: Chat) -> tuple[Int[np.ndarray, " seq"], list[str]]:
    """The ids of a conversation, and the message of each one, such as `2 assistant`.

    A message ends where the conversation up to it ends; its header is a part of it. If the template
    rejects a beginning of the conversation, its last message is counted to the one before.
    """
    whole = conversation(tokenizer, chat.messages, chat.tools, required=()).ids
    names = [f"{n} {message.role}" for n, message in enumerate(chat.messages, 1)]
    labels = [names[0]] * len(whole)
    end = 0
    for n in range(1, len(names)):
        with suppress(TemplateError):
            part = conversation(tokenizer, chat.messages[:n], chat.tools, required=()).ids
            size = min(len(part), len(whole))
            differs = np.flatnonzero(part[:size] != whole[:size])
            end = max(end, int(differs[0]) if len(differs) else size)
            labels[end:] = [names[n]] * (len(whole) - end)
    return whole, labels


def assistant_turns(messages: Sequence[Message]) -> list[int]:
    """The indices of the assistant's messages."""
    return [i for i, message in enumerate(messages) if message.role == "assistant"]


def prompt(
    tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Any] = ()
) -> list[int]:
    """The prompt ids that the assistant's next turn continues."""
    parts = _split_turns(Script(tokenizer, messages, tools), (), before_answer=True)
    ids = [_encode(tokenizer, text, at_start=not i) for i, (_, text) in enumerate(parts)]
    return np.concatenate(ids).tolist()


def exchange(
    tokenizer: Tokenizer, question: str | Chat, answer: str | Message, *, with_rest: bool = False
) -> tuple[list[int], list[int]]:
    """The ids of a prompt and of its answer, encoded as one conversation.

    The answer ends with its turn, or `with_rest` with what the template writes after it, such as a
    line break. If the tokenizer has no template, both must be text: the prompt, and answer + eos.
    """
    vocab = tokenizer.vocab
    if tokenizer.template is None and isinstance(question, str) and isinstance(answer, str):
        before, after = tokenizer.encode_batch([question, answer])
        return vocab.prompt(before.tolist()), [*after.tolist(), vocab.eos]
    chat = as_chat(question)
    turn = Message("assistant", answer) if isinstance(answer, str) else answer
    messages = (*chat.messages, turn)
    encoded = conversation(tokenizer, messages, chat.tools, required=[len(messages) - 1])
    places = np.flatnonzero(encoded.turns == encoded.n_turns)
    if not len(places):
        raise TemplateError(f"A completion is lost: {', '.join(encoded.reasons)}.")
    start, end = int(places[0]), len(encoded.ids) if with_rest else int(places[-1]) + 1
    return encoded.ids[:start].tolist(), encoded.ids[start:end].tolist()


def question(tokenizer: Tokenizer, text: str | Chat) -> list[int]:
    """The prompt ids of a question, in the format of `exchange`."""
    if tokenizer.template is None and isinstance(text, str):
        return tokenizer.vocab.prompt(tokenizer.encode(text).tolist())
    chat = as_chat(text)
    return prompt(tokenizer, chat.messages, chat.tools)


def appended(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of text that follows other ids; the text of a special token in it stays text."""
    return _encode(tokenizer, plain(tokenizer, text), at_start=False).tolist()


def appended_message(tokenizer: Tokenizer, message: Message, *, closed: bool) -> list[int]:
    """The ids between an answer and the next one: the end of its turn, a message, a header.

    `closed` means that the answer ends with a stop token, so the end of its turn has begun.
    """
    messages = (Message("user", "x"), Message("assistant", ANSWER), message)
    whole = Script(tokenizer, messages).text(before_answer=True)
    rest = whole.replace(OPEN, "").replace(CLOSE, "").partition(ANSWER)[2]
    if not rest:
        raise TemplateError("The chat template leaves out an answer that a message follows.")
    if closed and (end := tokenizer.special_pattern.match(rest)):
        rest = rest[end.end() :]
    return _encode(tokenizer, rest, at_start=False).tolist()


def as_chat(prompt: str | Chat) -> Chat:
    """A prompt as a conversation."""
    return Chat((Message("user", prompt),)) if isinstance(prompt, str) else prompt


def _split_turns(
    script: Script, required: Collection[int], *, before_answer: bool = False
) -> Iterator[tuple[int | None, str]]:
    """Yields the non-empty parts of a conversation, each with the index of the message it is.

    The index is None outside the assistant's turns.
    """
    whole = script.text(before_answer=before_answer)
    answers = assistant_turns(script.messages)
    if OPEN in whole:
        places = _blocks(script, whole, answers) if required else [None] * whole.count(OPEN)
    else:
        places = []
        for i in reversed(answers):
            if marked := _mark_turn(script, whole, i, i in required):
                whole = marked
                places.insert(0, i)
    for place, part in zip([None, *places], whole.split(OPEN), strict=True):
        answer, closed, rest = part.partition(CLOSE)
        for where, text in ((place, answer), (None, rest)) if closed else ((None, part),):
            if text:
                yield where, text


def _mark_turn(script: Script, whole: str, i: int, is_required: bool) -> str | None:
    """The text with marks around the turn of a message; None, or an error, if it has no place."""
    start = script.text(i, before_answer=True)
    end = script.text(i + 1)
    if whole.startswith(end) and end.startswith(start):
        last = _last_special(script.tokenizer, end, len(start))
        return whole[: len(start)] + OPEN + whole[len(start) : last] + CLOSE + whole[last:]
    if not is_required:
        return None
    if not whole.startswith(end):
        raise RewrittenTurnError(
            f"The chat template renders message {i + 1} differently when more follow, so its turn "
            "cannot be located in the whole conversation."
        )
    raise TemplateError(
        f"The chat template's prompt for message {i + 1} ends with {start[-20:]!r}, which the "
        "rendered message does not begin with, so its turn cannot be located. Mark turns with "
        "{% generation %}, or choose another template."
    )


def _blocks(script: Script, whole: str, answers: Sequence[int]) -> list[int]:
    """The index of the message that each `generation` block belongs to."""
    n_blocks = whole.count(OPEN)
    if n_blocks == len(answers):
        return list(answers)
    counts = [script.text(i + 1).count(OPEN) for i in answers]
    if counts and counts[-1] != n_blocks:
        raise TemplateError("The chat template marks turns differently when more messages follow.")
    return [next(i for i, n in zip(answers, counts, strict=True) if k < n) for k in range(n_blocks)]


def _last_special(tokenizer: Tokenizer, text: str, start: int) -> int:
    """The end of an answer: after its last special token if only white space follows it."""
    ends = [match.end() for match in tokenizer.special_pattern.finditer(text, start)]
    return ends[-1] if ends and not text[ends[-1] :].strip() else len(text)


def _encode(tokenizer: Tokenizer, text: str, *, at_start: bool) -> Int[np.ndarray, " seq"]:
    encode, parts = tokenizer.encode_with_special, text.split(CUT)
    return np.concatenate([encode(p, at_start=at_start and not i) for i, p in enumerate(parts)])
