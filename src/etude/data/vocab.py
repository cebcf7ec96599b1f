"""What a network may know of its tokenizer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocab:
    """What a network may know of its tokenizer: how many ids there are, and the special ones."""

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
        """Every reserved id; the rest are ids of text."""
        named = (self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep)
        return frozenset((*named, self.turn_start, self.turn_end, *self.sentinels))

    @property
    def stops(self) -> tuple[int, ...]:
        """What ends an answer: the end of the text, or of the turn in a conversation."""
        return (self.eos, self.turn_end)
