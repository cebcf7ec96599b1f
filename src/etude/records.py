"""The kinds of record that a row of data can be, before tokenisation.

A data plugin yields one kind and an objective reads a set of kinds. The lossless conversions
between kinds are listed in `CONVERSIONS`.
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
    """A source text and its target."""

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
    """Reward difference between `chosen` and `rejected`, in units of the reward."""
    probability: float = 1.0
    """Probability that `chosen` is better than `rejected`, in [0.5, 1]."""


@dataclass(frozen=True)
class Ranking:
    """Completions of one prompt, best first."""

    prompt: str
    completions: tuple[str, ...]


@dataclass(frozen=True)
class Feedback:
    """A completion and its score: 1.0 for good and 0.0 for bad, or any number."""

    prompt: str
    completion: str
    score: float


@dataclass(frozen=True)
class Prompt:
    """A question, with its reference answer if it has one."""

    prompt: str
    answer: str | None = None


@dataclass(frozen=True)
class Labelled:
    """A text with a label, or a list of words with a label for each."""

    text: str | tuple[str, ...]
    label: str | tuple[str, ...]


Record = Text | Pair | Chat | Preference | Ranking | Feedback | Prompt | Labelled


@dataclass(frozen=True)
class BadRow:
    """A row that is not a valid record: its location (`file:line`) and the reason."""

    place: str
    reason: str


@dataclass(frozen=True)
class Unused:
    """A part of a row that no record contains, such as a field: counted, and shown to the user."""

    part: str


def _pair_to_chat(pair: Pair) -> Chat:
    return Chat((Message("user", pair.source), Message("assistant", pair.target)))


def _prompt_to_pair(prompt: Prompt) -> Pair:
    if prompt.answer is None:
        raise DataError(
            f"The prompt {prompt.prompt[:60]!r} has no reference answer to train on.\n"
            "  Add an answer to each row, leave such rows out, or use an objective with a reward."
        )
    return Pair(prompt.prompt, prompt.answer)


def _prompt_to_chat(prompt: Prompt) -> Chat:
    return _pair_to_chat(_prompt_to_pair(prompt))


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
