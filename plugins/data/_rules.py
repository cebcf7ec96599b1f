"""Rules on strings of digits: a question `4821:` and its answer, which depends on the rule."""

from collections.abc import Iterator
from enum import Enum
from random import Random

from etude import Prompt


class Rule(Enum):
    """What the answer is of the digits."""

    first = "first"
    last = "last"
    largest = "largest"
    reverse = "reverse"
    sort = "sort"


def answer(rule: Rule, digits: str) -> str:
    """Returns the answer of a rule; `reverse` of 4821 is 1284, and `sort` is 1248."""
    match rule:
        case Rule.first:
            return digits[0]
        case Rule.last:
            return digits[-1]
        case Rule.largest:
            return max(digits)
        case Rule.reverse:
            return digits[::-1]
        case Rule.sort:
            return "".join(sorted(digits))


def questions(rule: Rule, size: int, draw: Random) -> Iterator[Prompt]:
    """Yields questions of a rule about `size` random digits, without end."""
    while True:
        digits = "".join(draw.choices("0123456789", k=size))
        yield Prompt(f"{digits}:", answer(rule, digits))
