"""What one row of data can be, before any tokenizer has seen it.

A data plugin yields one kind, an objective reads a set of kinds, and the lossless lifts
between kinds are listed here, once.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from etude.errors import DataError


@dataclass(frozen=True)
class Text:
    """A document of raw text."""

    text: str


@dataclass(frozen=True)
class Pair:
    """A source and the target it should become."""

    source: str
    target: str


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """A conversation, in order."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Preference:
    """Two completions of one prompt, the better one first."""

    prompt: str
    chosen: str
    rejected: str
    margin: float = 0.0
    """By how much better, in units of a reward."""
    probability: float = 1.0
    """How sure it is that the better one is better, from 0.5 on."""


@dataclass(frozen=True)
class Ranking:
    """Completions of one prompt, best first."""

    prompt: str
    completions: tuple[str, ...]


@dataclass(frozen=True)
class Feedback:
    """A completion and how good it was: 1.0 and 0.0 for yes and no, or any score."""

    prompt: str
    completion: str
    score: float


@dataclass(frozen=True)
class Prompt:
    """A question, with its reference answer where one exists."""

    prompt: str
    answer: str | None = None


@dataclass(frozen=True)
class Labelled:
    """A text, or the words of one, with its label or the label of each word."""

    text: str | tuple[str, ...]
    label: str | tuple[str, ...]


Record = Text | Pair | Chat | Preference | Ranking | Feedback | Prompt | Labelled


@dataclass(frozen=True)
class BadRow:
    """A row that could not become a record: where it stands (`file:line`) and why."""

    place: str
    reason: str


def _pair_to_chat(pair: Pair) -> Chat:
    return Chat((Message("user", pair.source), Message("assistant", pair.target)))


def _prompt_to_pair(prompt: Prompt) -> Pair:
    if prompt.answer is None:
        raise DataError(
            f"The prompt {prompt.prompt[:60]!r} has no reference answer to learn from.\n"
            "  Only rewards can teach it; leave such rows out, or give each its answer."
        )
    return Pair(prompt.prompt, prompt.answer)


def _prompt_to_chat(prompt: Prompt) -> Chat:
    return _pair_to_chat(_prompt_to_pair(prompt))


def _preference_to_ranking(preference: Preference) -> Ranking:
    return Ranking(preference.prompt, (preference.chosen, preference.rejected))


LIFTS: Final[Mapping[tuple[type, type], Callable[..., Record]]] = {
    (Pair, Chat): _pair_to_chat,
    (Prompt, Pair): _prompt_to_pair,
    (Prompt, Chat): _prompt_to_chat,
    (Preference, Ranking): _preference_to_ranking,
}
"""Lossless conversions, keyed by (from, to)."""


def lift_of(kind: type, reads: Set[type]) -> Callable[..., Record] | None:
    """What makes of a record of this kind one that is read; None where it is read as it is.

    None also where there is no way: `compatibility` refuses to train on such data.
    """
    ways = () if kind in reads else LIFTS.items()
    return next((lift for (given, to), lift in ways if given is kind and to in reads), None)
