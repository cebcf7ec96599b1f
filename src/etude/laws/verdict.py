"""The verdict of a law on a plugin: held, broken (with the numbers) or not applicable."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The result of testing a plugin against a law."""

    HELD = "held"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """A verdict and its evidence."""

    verdict: Verdict
    said: str


def held(said: str = "") -> Finding:
    """Returns that the law holds; `said` contains the numbers, if any."""
    return Finding(Verdict.HELD, said)


def broken(said: str) -> Finding:
    """Returns that the law is broken; `said` contains what was found and what was expected."""
    return Finding(Verdict.BROKEN, said)


def not_applicable(why: str) -> Finding:
    """Returns that the law does not apply to this plugin."""
    return Finding(Verdict.NOT_APPLICABLE, why)


def holds(condition: bool, said: str) -> Finding:
    """Returns held or broken by a condition; `said` contains the deciding numbers."""
    return held(said) if condition else broken(said)


def try_law(law: Callable[[], Finding]) -> Finding:
    """Returns the finding of a law; an exception in the plugin breaks the law."""
    try:
        return law()
    except Exception as error:  # a user's plugin may raise anything
        said = " ".join(str(error).split()) or "no message"
        return broken(f"raised {type(error).__name__}: {said[:300]}")
