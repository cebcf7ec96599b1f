"""Renders conversations with a chat template and encodes them, marking the assistant's turns.

The template is Jinja, in transformers' dialect (https://huggingface.co/docs/transformers,
`chat_templating`): sandboxed, with `{% generation %}` blocks and a time limit. Deviations: there is
no `strftime_now`, because a run must not depend on its date; and message content is plain text,
even if it contains the text of a special token.

A turn is the content of a `generation` block. Without such a block, it is the text after the
rendered prompt of the preceding turns, up to its closing special token, without trailing white
space. Text is split where a turn begins and ends, so a prompt has the same ids as in training.
"""

import json
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Int
from jinja2.ext import Extension
from jinja2.nodes import CallBlock
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from etude.data.tokenizer import Tokenizer
from etude.errors import DataError
from etude.records import Message

DEFAULT = """\
{{ bos_token }}{% for message in messages %}\
<turn_start>{{ message['role'] }}
{{ message['content'] }}<turn_end>
{% endfor %}{% if add_generation_prompt %}<turn_start>assistant
{% endif %}"""
"""The template used when neither the user nor the tokenizer provides one."""
LITERALS = {"turn_start": "<turn_start>", "turn_end": "<turn_end>"}
"""The special tokens that DEFAULT contains literally."""
TIMEOUT_S = 2.0
OPEN = "\ufdd0"
CLOSE = "\ufdd1"
CUT = "\ufdd2"
"""Unicode noncharacters, which never occur in text. They mark where a turn begins and ends, and
where the text of a special token inside a message is split in two."""
_MARKS = dict.fromkeys(map(ord, OPEN + CLOSE + CUT))


class TemplateError(DataError):
    """A chat template cannot render a conversation; the message contains the reason."""


@dataclass(frozen=True)
class Conversation:
    """A tokenised conversation; `turns` is the number of the assistant turn, from 1, or 0."""

    ids: Int[np.ndarray, " seq"]
    turns: Int[np.ndarray, " seq"]

    @property
    def n_turns(self) -> int:
        """Number of assistant turns."""
        return int(self.turns.max(initial=0))


def conversation(tokenizer: Tokenizer, messages: Sequence[Message]) -> Conversation:
    """Encodes a whole conversation. Raises TemplateError if the template rejects it."""
    ids: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    number = 0
    for is_answer, text in _split_turns(tokenizer, messages):
        number += is_answer
        part = _encode(tokenizer, text, at_start=not ids)
        ids.append(part)
        turns.append(np.full(len(part), number if is_answer else 0))
    return Conversation(np.concatenate(ids), np.concatenate(turns))


def prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The prompt ids that the assistant's next turn continues."""
    parts = _split_turns(tokenizer, messages, before_answer=True)
    ids = [_encode(tokenizer, text, at_start=not i) for i, (_, text) in enumerate(parts)]
    return np.concatenate(ids).tolist()


def exchange(tokenizer: Tokenizer, question: str, answer: str) -> tuple[list[int], list[int]]:
    """The ids of a question and of its answer, encoded as a conversation of two turns.

    If the tokenizer has no template: the question as a prompt, and answer + eos.
    """
    vocab = tokenizer.vocab
    if tokenizer.template is None:
        before, after = tokenizer.encode_batch([question, answer])
        return vocab.prompt(before.tolist()), [*after.tolist(), vocab.eos]
    messages = (Message("user", question), Message("assistant", answer))
    encoded = conversation(tokenizer, messages)
    start = int(np.argmax(encoded.turns > 0))
    return encoded.ids[:start].tolist(), encoded.ids[encoded.turns > 0].tolist()


def question(tokenizer: Tokenizer, text: str) -> list[int]:
    """The prompt ids of a question, in the format of `exchange`."""
    if tokenizer.template is None:
        return tokenizer.vocab.prompt(tokenizer.encode(text).tolist())
    return prompt(tokenizer, (Message("user", text),))


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    literals: Mapping[str, str],
    *,
    before_answer: bool = False,
) -> str:
    """Renders a conversation as text. Raises TemplateError if the template fails or times out."""
    try:
        compiled = _compile(template)
        with _deadline(TIMEOUT_S):
            return compiled.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=before_answer,
                **literals,
            )
    except TimeoutError as error:
        raise TemplateError(f"The chat template did not finish within {TIMEOUT_S:g} s.") from error
    except Exception as error:  # a template may raise any exception
        raise TemplateError(f"The chat template cannot render the messages: {error}") from error


def _split_turns(
    tokenizer: Tokenizer, messages: Sequence[Message], *, before_answer: bool = False
) -> Iterator[tuple[bool, str]]:
    """Yields (is_answer, text) for each non-empty part of a conversation, in order."""
    template = tokenizer.template
    assert template is not None, "compatibility checks require a template"
    contents = [{"role": m.role, "content": _as_text(tokenizer, m.content)} for m in messages]

    def render_first(n: int, *, before_answer: bool) -> str:
        return render(template, contents[:n], tokenizer.literals, before_answer=before_answer)

    whole = render_first(len(contents), before_answer=before_answer)
    if OPEN not in whole:
        for i, message in reversed(list(enumerate(messages))):
            if message.role == "assistant":
                start = render_first(i, before_answer=True)
                end = render_first(i + 1, before_answer=False)
                if not (whole.startswith(end) and end.startswith(start)):
                    raise TemplateError(
                        f"The chat template renders message {i + 1} differently when more follow, "
                        "so its turn cannot be located. Mark turns with {% generation %}."
                    )
                last = _last_special(tokenizer, end, len(start))
                whole = whole[: len(start)] + OPEN + whole[len(start) : last] + CLOSE + whole[last:]
    for part in whole.split(OPEN):
        answer, closed, rest = part.partition(CLOSE)
        for is_answer, text in ((True, answer), (False, rest)) if closed else ((False, part),):
            if text:
                yield is_answer, text


def _last_special(tokenizer: Tokenizer, text: str, start: int) -> int:
    """The end of an answer: after its last special token if only white space follows it."""
    ends = [match.end() for match in tokenizer.special_pattern.finditer(text, start)]
    return ends[-1] if ends and not text[ends[-1] :].strip() else len(text)


def _as_text(tokenizer: Tokenizer, content: str) -> str:
    """The content of a message, with the text of every special token in it split in two."""
    pattern = tokenizer.special_pattern
    return pattern.sub(lambda m: m[0][0] + CUT + m[0][1:], content.translate(_MARKS))


def _encode(tokenizer: Tokenizer, text: str, *, at_start: bool) -> Int[np.ndarray, " seq"]:
    encode, parts = tokenizer.encode_with_special, text.split(CUT)
    return np.concatenate([encode(p, at_start=at_start and not i) for i, p in enumerate(parts)])


class _Generation(Extension):
    """The block `{% generation %}`, which marks its content as an assistant turn."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_mark"), [], [], body, lineno=line)

    def _mark(self, caller: Any) -> str:  # Jinja's macro
        return f"{OPEN}{caller()}{CLOSE}"


@lru_cache
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    return environment.from_string(template, globals={"raise_exception": _raise_exception})


def _json(value: Any, indent: int | None = None) -> str:  # any value that a template passes
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


@contextmanager
def _deadline(seconds: float) -> Generator[None]:
    """Raises TimeoutError in Python code that runs too long; a template may loop forever."""
    end = time.monotonic() + seconds

    def check(frame: FrameType, event: str, argument: Any) -> Any:  # the type of `sys.settrace`
        if time.monotonic() > end:
            raise TimeoutError
        return check

    before = sys.gettrace()
    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
