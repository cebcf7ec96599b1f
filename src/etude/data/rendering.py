"""Renders conversations as text with a chat template.

The template is Jinja, in transformers' dialect (https://huggingface.co/docs/transformers,
`chat_templating`): sandboxed, with `{% generation %}` blocks, `tools` and a time limit. Deviations:
there is no `strftime_now`, because a run must not depend on its date; and what messages and tools
contain is plain text, even if it is the text of a special token. An ordinary token of the
vocabulary, such as Qwen's <think>, stays one in what the assistant says.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

from etude.data.template_process import Cut, TemplateError, rendered
from etude.data.template_worker import CLOSE, OPEN
from etude.data.tokenizer import Tokenizer
from etude.records import TOOL_ROLES, Message

CUT = "\ufdd2"
"""Unicode noncharacters, which never occur in text. They mark where a turn begins and ends, and
where the text of a special token inside a message is split in two."""
_MARKS = dict.fromkeys(map(ord, OPEN + CLOSE + CUT))


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
        return plain(self.tokenizer, row, keep_ordinary=message.role == "assistant")

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
        return plain(self.tokenizer, self.tools)

    @cached_property
    def _texts(self) -> dict[Cut, str | TemplateError]:
        """The texts so far."""
        return {}

    def text(self, n: int | None = None, *, before_answer: bool = False) -> str:
        """The first `n` messages, or all, as text; with the header of an answer on request.

        Raises TemplateError if the template fails.
        """
        cut = len(self.messages) if n is None else n, before_answer
        if cut not in self._texts:
            answers = [i for i, one in enumerate(self.messages) if one.role == "assistant"]
            cuts = [cut]
            if not self._texts:  # most likely, those around each answer are needed, too
                cuts += [one for i in answers for one in ((i, True), (i + 1, False))]
            variables = _variables(self.rows, self.tokenizer.literals, self.plain_tools)
            found = rendered(self.template, variables, cuts)
            self._texts.update(zip(cuts, found, strict=False))
        return _text_of(self._texts[cut])


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    literals: Mapping[str, str],
    tools: Sequence[Any] = (),
    *,
    before_answer: bool = False,
) -> str:
    """Renders a conversation as text. Raises TemplateError if the template fails."""
    variables = _variables(messages, literals, tools)
    return _text_of(rendered(template, variables, [(len(messages), before_answer)])[0])


def _variables(
    messages: Sequence[Mapping[str, Any]], literals: Mapping[str, str], tools: Sequence[Any]
) -> dict[str, Any]:
    """What a template reads, besides `add_generation_prompt`."""
    return {"messages": messages, "tools": list(tools) or None, "documents": None, **literals}


def _text_of(found: str | TemplateError) -> str:
    if isinstance(found, TemplateError):
        raise found
    return found


@lru_cache
def _tool_roles(template: str) -> list[str]:
    """The names of a tool's role that a template compares roles with."""
    compared = r"role['\"\])\s]*(?:==|in)[^%}]{0,200}?['\"]"
    return [name for name in TOOL_ROLES if re.search(f"{compared}{name}['\"]", template)]


def plain(tokenizer: Tokenizer, value: Any, *, keep_ordinary: bool = False) -> Any:  # Any: JSON
    """JSON in which the text of each token is split in two, except of ordinary ones if asked."""

    def split(match: re.Match[str]) -> str:
        return match[0] if keep_ordinary and match.lastindex else match[0][0] + CUT + match[0][1:]

    def walk(part: Any) -> Any:
        match part:
            case str():
                return tokenizer.special_pattern.sub(split, part.translate(_MARKS))
            case list() | tuple():
                return [walk(item) for item in cast(list[Any], part)]
            case dict():
                items = cast(dict[str, Any], part).items()
                return {walk(key): walk(item) for key, item in items}
            case _:
                return part

    return walk(value)
