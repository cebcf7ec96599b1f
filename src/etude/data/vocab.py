"""The vocabulary size and special token ids, and the one place that writes them around a text."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Vocab:
    """The vocabulary size and special ids: all that a network knows about its tokenizer.

    A role that the tokenizer lacks has an id of `size` or more: no text contains it, and no network
    has a row for it.
    """

    size: int
    """Rows of the token table; more than the tokenizer has ids if the model was padded."""
    pad: int
    unk: int
    bos: int
    eos: int
    mask: int
    cls: int
    sep: int
    turn_start: int
    turn_end: int
    sentinels: tuple[int, ...]
    opening: tuple[int, ...] = ()
    """What the tokenizer writes before a text: bos or [CLS], or nothing, as in Qwen2 and T5."""
    closing: tuple[int, ...] = ()
    """What it writes after a text, such as [SEP]; empty if texts are to be continued."""
    other_stops: tuple[int, ...] = ()
    """Further ids that end a completion: end of turn in a conversation, and those of the model."""

    @property
    def special(self) -> frozenset[int]:
        """All special ids; the remaining ids are text."""
        named = (self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep)
        every = (*named, self.turn_start, self.turn_end, *self.sentinels)
        return frozenset(i for i in every if i < self.size)

    @property
    def stops(self) -> tuple[int, ...]:
        """The ids that end a completion."""
        return (self.eos, *self.other_stops)

    def known(self, i: int) -> int | None:
        """The id of a role, or None if the tokenizer has no such role."""
        return i if i < self.size else None

    def prompt(self, text: Iterable[int]) -> list[int]:
        """A text to continue. An empty one follows an eos, as the next document in a packed row."""
        return [*self.opening, *text] or [self.eos]

    def document(self, text: Iterable[int]) -> list[int]:
        """A whole text; one without `closing` ends with eos, where a continuation would end."""
        return [*self.opening, *text, *(self.closing or (self.eos,))]

    def source(self, text: Iterable[int]) -> list[int]:
        """A text for an encoder whose decoder writes another, such as T5's `text </s>`.

        Without `closing`, `opening` is for texts to continue.
        """
        return [*self.opening, *text, *self.closing] if self.closing else [*text, self.eos]
