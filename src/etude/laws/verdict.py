"""The verdict of a law on a plugin: held, broken (with the numbers) or not applicable."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from etude.errors import InterruptedRunError, PreemptedError


class Verdict(StrEnum):
    """The result of testing a plugin against a law."""

    HELD = "held"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """A verdict and its evidence."""

    verdict: Verdict
    evidence: str


def held(evidence: str = "") -> Finding:
    """Returns that the law holds; `evidence` contains the numbers, if any."""
    return Finding(Verdict.HELD, evidence)


def broken(evidence: str) -> Finding:
    """Returns that the law is broken; `evidence` contains what was found and what was expected."""
    return Finding(Verdict.BROKEN, evidence)


def not_applicable(reason: str) -> Finding:
    """Returns that the law does not apply to this plugin."""
    return Finding(Verdict.NOT_APPLICABLE, reason)


def holds(condition: bool, evidence: str) -> Finding:
    """Returns held or broken by a condition; `evidence` contains the deciding numbers."""
    return held(evidence) if condition else broken(evidence)


def try_law(law: Callable[[], Finding]) -> Finding:
    """Returns the finding of a law; an exception in the plugin breaks the law."""
    try:
        return law()
    except (PreemptedError, InterruptedRunError):  # a signal breaks no law
        raise
    except Exception as error:  # a user's plugin may raise anything
        message = " ".join(str(error).split()) or "no message"
        return broken(f"raised {type(error).__name__}: {message[:300]}")
