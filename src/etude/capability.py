"""Properties that networks guarantee. A test checks each on every plugin that declares it."""

from enum import Enum


class Capability(Enum):
    """A property that an architecture guarantees; the value describes it in error messages."""

    NEXT_TOKEN = "the logits at t do not depend on tokens after t"
    BOTH_SIDES = "every position attends to every token"
    SOURCE_TARGET = "a causal decoder attends to a bidirectionally encoded source"
    PREFIX = "attention is bidirectional in the prefix and causal after it"
    GENERATE = "decoding with a KV cache gives the same logits as without one"
    VALUES = "the mixer adds the extra values of its context to its own"
    HIDDEN = "the final hidden states are available to a task head"


ATTENTION = frozenset({Capability.NEXT_TOKEN, Capability.BOTH_SIDES, Capability.SOURCE_TARGET})
"""Attention patterns: an architecture declares one of these, and its mixer must provide it."""
