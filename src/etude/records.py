"""The kinds of record that a row of data can be, before tokenisation.

A data plugin yields one kind and an objective reads a set of kinds. The lossless conversions
between kinds are listed in `CONVERSIONS`.
"""

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from etude.errors import DataError


@dataclass(frozen=True)
class Text:
    """A document of raw text."""

    text: str


@dataclass(frozen=True)
class Pair:
    """A source text and its target."""

    source: str
    target: str


@dataclass(frozen=True)
class Question:
    """A question about a text, and its equally good answers, all of them parts of that text."""

    question: str
    context: str
    answers: tuple[str, ...] = ()
    """Empty if the text does not answer the question."""
    starts: tuple[int, ...] = ()
    """Where each answer starts in the context, in characters."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is system, user, assistant or one of TOOL_ROLES."""

    role: str
    content: str
    """Empty only for a tool, or beside the fields that it consists of, such as tool_calls."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)  # JSON
    """Further fields that chat templates know: tool_calls, reasoning_content, name and others."""
    learn: bool = True
    """Whether it may be trained on, if it is the assistant's."""

    def __str__(self) -> str:
        """The content and the tool calls, for people, rewards and judges."""
        calls = [json.dumps(call, ensure_ascii=False) for call in self.fields.get("tool_calls", ())]
        return "\n".join(filter(None, (self.content, *calls)))

    def as_row(self) -> dict[str, Any]:
        """The message as in a JSON file, and as a chat template receives it."""
        return {"role": self.role, "content": self.content, **self.fields}


TOOL_ROLES: Final = ("tool", "function", "observation", "ipython")
"""Names of the role of a tool's message: transformers', and those of some models."""


@dataclass(frozen=True)
class Chat:
    """A conversation, in order, and the tools that the assistant may call, as JSON schemas."""

    messages: tuple[Message, ...]
    tools: tuple[Any, ...] = field(default=(), hash=False)  # JSON

    def __str__(self) -> str:
        """A transcript, for people, rewards and judges; of a single message, its text alone."""
        if len(self.messages) == 1:
            return str(self.messages[0])
        return "\n\n".join(f"{one.role.capitalize()}: {one}" for one in self.messages)


@dataclass(frozen=True)
class Preference:
    """Two completions of one prompt, the better one first.

    Here and below, a prompt is the text of a user's message, or a conversation that an assistant's
    message follows; a completion is the text of that message, or the message if it has more fields.
    """

    prompt: str | Chat
    chosen: str | Message
    rejected: str | Message
    margin: float = 0.0
    """Reward difference between `chosen` and `rejected`, in units of the reward."""
    probability: float = 1.0
    """Probability that `chosen` is better than `rejected`, in [0.5, 1]."""


@dataclass(frozen=True)
class Ranking:
    """Completions of one prompt, best first."""

    prompt: str | Chat
    completions: tuple[str | Message, ...]


@dataclass(frozen=True)
class Feedback:
    """A completion and its score: 1.0 for good and 0.0 for bad, or any number."""

    prompt: str | Chat
    completion: str | Message
    score: float


@dataclass(frozen=True)
class Prompt:
    """A question, with its reference answer if it has one."""

    prompt: str | Chat
    answer: str | None = None


@dataclass(frozen=True)
class Labelled:
    """A text with a label, several or a rating, or a list of words with a label for each."""

    text: str | tuple[str, ...]
    label: str | float | tuple[str, ...]
    second: str | None = None
    """The second text of a pair, such as the hypothesis of a premise."""


@dataclass(frozen=True)
class Choice:
    """A question with several possible answers, of which one is right."""

    prompt: str | Chat
    choices: tuple[str, ...]
    right: int
    """Index of the right choice, from 0."""


def prompt_fields(prompt: str | Chat) -> dict[str, Any]:
    """The fields of a JSON row that hold a prompt."""
    if isinstance(prompt, str):
        return {"prompt": prompt}
    tools = {"tools": list(prompt.tools)} if prompt.tools else {}
    return {"prompt": [message.as_row() for message in prompt.messages], **tools}


PROMPTED: Final = frozenset({Preference, Ranking, Feedback, Prompt})
"""The kinds with a prompt, which may be a conversation."""

Record = (
    Text | Pair | Question | Chat | Preference | Ranking | Feedback | Prompt | Labelled | Choice
)


@dataclass(frozen=True)
class BadRow:
    """A row that is not a valid record: its location (`file:line`) and the reason."""

    place: str
    reason: str


@dataclass(frozen=True)
class Unused:
    """A part of a row that no record contains, such as a field: counted, and shown to the user."""

    part: str


@dataclass(frozen=True)
class Noted:
    """A property of a row that is read by a rule: counted, and shown to the user."""

    rule: str


@dataclass(frozen=True)
class StartOfValidation:
    """The rows after it are held out, as the source itself divides its rows; one at most."""


@dataclass(frozen=True)
class Place:
    """The location (`file:line`) of the record that follows, for messages about it."""

    place: str


SourceRow = Record | BadRow | Unused | Noted | Place | StartOfValidation
"""What a data source yields."""


def _pair_to_chat(pair: Pair) -> Chat:
    return Chat((Message("user", pair.source), Message("assistant", pair.target)))


def _prompt_to_pair(prompt: Prompt) -> Pair:
    if isinstance(prompt.prompt, Chat):
        raise DataError(
            f"The prompt {str(prompt.prompt)[:60]!r} is a conversation, and a pair of source and "
            "target holds a single text.\n  Use objective=sft, which reads conversations."
        )
    return Pair(prompt.prompt, _answer_of(prompt))


def _prompt_to_chat(prompt: Prompt) -> Chat:
    if isinstance(prompt.prompt, str):
        return _pair_to_chat(_prompt_to_pair(prompt))
    given = (replace(message, learn=False) for message in prompt.prompt.messages)
    return Chat((*given, Message("assistant", _answer_of(prompt))), prompt.prompt.tools)


def _answer_of(prompt: Prompt) -> str:
    if prompt.answer is None:
        raise DataError(
            f"The prompt {str(prompt.prompt)[:60]!r} has no reference answer to train on.\n"
            "  Add an answer to each row, leave such rows out, or use an objective with a reward."
        )
    return prompt.answer


def _preference_to_ranking(preference: Preference) -> Ranking:
    return Ranking(preference.prompt, (preference.chosen, preference.rejected))


CONVERSIONS: Final[Mapping[tuple[type, type], Callable[..., Record]]] = {
    (Pair, Chat): _pair_to_chat,
    (Prompt, Pair): _prompt_to_pair,
    (Prompt, Chat): _prompt_to_chat,
    (Preference, Ranking): _preference_to_ranking,
}
"""Lossless conversions, keyed by (from, to)."""


def conversion_for(kind: type, reads: Set[type]) -> Callable[..., Record] | None:
    """The function that converts a record of this kind to one of `reads`; None if it is in `reads`.

    Also None if no conversion exists; `compatibility` rejects such data.
    """
    pairs = () if kind in reads else CONVERSIONS.items()
    return next((convert for (a, b), convert in pairs if a is kind and b in reads), None)
