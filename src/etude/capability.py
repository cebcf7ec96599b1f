"""What a network can do. Each capability is a law that a test runs on everyone who declares it."""

from enum import Enum


class Capability(Enum):
    """A promise an architecture makes; the value says it in words."""

    NEXT_TOKEN = "tokens after t cannot move the logits at t"
    BOTH_SIDES = "every position sees every token"
    SOURCE_TARGET = "a target that cannot see ahead is written from a source seen whole"
    PREFIX = "tokens of a prefix see one another, and what follows is written from them"
    GENERATE = "decoding with a cache equals decoding without one"
    HIDDEN = "hidden states that a head can be hung on"


SIGHT = frozenset({Capability.NEXT_TOKEN, Capability.BOTH_SIDES, Capability.SOURCE_TARGET})
"""What may be seen: an architecture declares one of them, and its mixer must have it too."""
