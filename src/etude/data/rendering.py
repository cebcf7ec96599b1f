"""Renders conversations as text with a chat template.

The template is Jinja, in transformers' dialect (https://huggingface.co/docs/transformers,
`chat_templating`): sandboxed, with `{% generation %}` blocks, `tools` and a time limit. Deviations:
there is no `strftime_now`, because a run must not depend on its date; and what messages and tools
contain is plain text, even if it is the text of a special token. An ordinary token of the
vocabulary, such as Qwen's <think>, stays one in what the assistant says.
"""

import json
import re
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import FrameType
from typing import Any, cast

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import CallBlock
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from etude.data.tokenizer import Tokenizer
from etude.errors import DataError
from etude.records import TOOL_ROLES, Message

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
class Script:
    """A conversation that the chat template of a tokenizer renders, whole or up to a message."""

    tokenizer: Tokenizer
    messages: Sequence[Message]
    tools: Sequence[Any] = ()  # JSON

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The messages as the template receives them."""
        return [self.row(message) for message in self.messages]

    def row(self, message: Message) -> dict[str, Any]:
        """A message as the template receives it."""
        row = message.as_row() | {"role": self._role(message.role)}
        if "reasoning_content" in row:  # transformers gives it under both names
            row["thinking"] = row["reasoning_content"]
        return _plain(self.tokenizer, row, keep_ordinary=message.role == "assistant")

    def _role(self, role: str) -> str:
        """The role; that of a tool by a name that the template knows, if it knows one."""
        known = _tool_roles(self.template)
        return known[0] if known and role in TOOL_ROLES and role not in known else role

    @property
    def template(self) -> str:
        """The chat template."""
        if self.tokenizer.template is None:
            raise TemplateError(
                "A conversation needs a chat template, and the tokenizer has none: "
                "choose one, such as template=plain_eos for a base model, or template=chatml."
            )
        return self.tokenizer.template

    @cached_property
    def plain_tools(self) -> list[Any]:
        """The tools as the template receives them."""
        return _plain(self.tokenizer, self.tools)

    def text(self, n: int | None = None, *, before_answer: bool = False) -> str:
        """The first `n` messages, or all, as text; with the header of an answer on request.

        Raises TemplateError if the template fails or times out.
        """
        literals = self.tokenizer.literals
        rows = self.rows[:n]
        return render(self.template, rows, literals, self.plain_tools, before_answer=before_answer)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    literals: Mapping[str, str],
    tools: Sequence[Any] = (),
    *,
    before_answer: bool = False,
) -> str:
    """Renders a conversation as text. Raises TemplateError if the template fails or times out."""
    try:
        compiled = _compile(template)
        with _deadline(TIMEOUT_S):
            return compiled.render(
                messages=[dict(message) for message in messages],
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=before_answer,
                **literals,
            )
    except TimeoutError as error:
        raise TemplateError(f"The chat template did not finish within {TIMEOUT_S:g} s.") from error
    except Exception as error:  # a template may raise any exception
        raise TemplateError(f"The chat template cannot render the messages: {error}") from error


@lru_cache
def _tool_roles(template: str) -> list[str]:
    """The names of a tool's role that a template compares roles with."""
    compared = r"role['\"\])\s]*(?:==|in)[^%}]*?['\"]"
    return [name for name in TOOL_ROLES if re.search(f"{compared}{name}['\"]", template)]


def _plain(tokenizer: Tokenizer, value: Any, *, keep_ordinary: bool = False) -> Any:  # Any: JSON
    """JSON in which the text of each token is split in two, except of ordinary ones if asked."""

    def split(match: re.Match[str]) -> str:
        return match[0] if keep_ordinary and match.lastindex else match[0][0] + CUT + match[0][1:]

    def plain(part: Any) -> Any:
        match part:
            case str():
                return tokenizer.special_pattern.sub(split, part.translate(_MARKS))
            case list() | tuple():
                return [plain(item) for item in cast(list[Any], part)]
            case dict():
                items = cast(dict[str, Any], part).items()
                return {plain(key): plain(item) for key, item in items}
            case _:
                return part

    return plain(value)


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


def _json(
    value: Any,  # any value that a template passes
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


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
