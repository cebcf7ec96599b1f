"""The part of a tokenizer that a network depends on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocab:
    """The vocabulary size and special ids: all that a network knows about its tokenizer."""

    size: int
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

    @property
    def special(self) -> frozenset[int]:
        """All special ids; the remaining ids are text."""
        named = (self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep)
        return frozenset((*named, self.turn_start, self.turn_end, *self.sentinels))

    @property
    def stops(self) -> tuple[int, ...]:
        """The ids that end a completion: end of text, and end of turn in a conversation."""
        return (self.eos, self.turn_end)
