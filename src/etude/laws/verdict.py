"""What a law has to say of a plugin: held, broken with the numbers, or not its business."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a plugin stands to a law."""

    HELD = "held"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """A verdict, and what it rests on."""

    verdict: Verdict
    said: str


def held(said: str = "") -> Finding:
    """The law is kept; `said` gives the numbers where there are any."""
    return Finding(Verdict.HELD, said)


def broken(said: str) -> Finding:
    """The law is broken: what was found, and what should have been."""
    return Finding(Verdict.BROKEN, said)


def not_applicable(why: str) -> Finding:
    """The law has nothing to say here."""
    return Finding(Verdict.NOT_APPLICABLE, why)


def holds(condition: bool, said: str) -> Finding:
    """Held or broken by a condition; `said` gives the numbers that decide it."""
    return held(said) if condition else broken(said)


def tried(law: Callable[[], Finding]) -> Finding:
    """What a law finds; one in which the plugin raises is broken by it."""
    try:
        return law()
    except Exception as error:  # whatever a user's file raises is the answer to the user
        said = " ".join(str(error).split()) or "no message"
        return broken(f"raised {type(error).__name__}: {said[:300]}")
