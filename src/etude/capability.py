"""What a network can do. A test checks each capability on every plugin that declares it."""

from enum import Enum


class Capability(Enum):
    """A property that an architecture guarantees; the value describes it in error messages."""

    NEXT_TOKEN = "tokens after t cannot move the logits at t"
    BOTH_SIDES = "every position sees every token"
    SOURCE_TARGET = "a target that cannot see ahead is written from a source seen whole"
    PREFIX = "tokens of a prefix see one another, and what follows is written from them"
    GENERATE = "decoding with a cache equals decoding without one"
    HIDDEN = "hidden states that a head can be hung on"


SIGHT = frozenset({Capability.NEXT_TOKEN, Capability.BOTH_SIDES, Capability.SOURCE_TARGET})
"""What a position can attend to: an architecture declares one of these, and so must its mixer."""
