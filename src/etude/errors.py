"""The errors that étude raises on purpose, each with the exit code of the command."""

from collections.abc import Iterable
from difflib import get_close_matches


class EtudeError(Exception):
    """An error the user can act on. The message: what was asked, what is so, what would work."""

    exit_code = 1


class ConfigError(EtudeError):
    """A key, value or option is invalid."""

    exit_code = 2


class CompositionError(ConfigError):
    """Options that are valid on their own but incompatible with each other."""


class MissingExtraError(ConfigError):
    """An optional dependency that the chosen plugin needs is not installed."""


class DataError(EtudeError):
    """The data cannot be read or contains nothing to train on."""

    exit_code = 3


class CheckpointError(EtudeError):
    """A checkpoint, model folder or tokenizer is missing or damaged."""

    exit_code = 4


class ServerError(EtudeError):
    """The server of a reward or judge returned no usable response."""


class NonFiniteError(EtudeError):
    """A loss or gradient became NaN or infinite; the weights were not updated."""

    exit_code = 5


class DiskFullError(EtudeError):
    """The disk of the run folder has no space left."""

    exit_code = 6


class PreemptedError(EtudeError):
    """A signal stopped the run after it saved a checkpoint. The same command resumes it."""

    exit_code = 75


class InterruptedRunError(EtudeError):
    """The user pressed Ctrl-C; the run saved what it could."""

    exit_code = 130


PAGE = 25
"""Maximum length of a message, in lines."""


def page(error: EtudeError) -> str:
    """The message of an error, cut to fit on one screen."""
    lines = str(error).splitlines()
    return "\n".join(lines if len(lines) <= PAGE else [*lines[: PAGE - 1], "  ..."])


def did_you_mean(name: str, among: Iterable[str], prefix: str = "") -> str:
    """A line that suggests the closest match of `among`, after `prefix`; empty if none is close."""
    near = get_close_matches(name, [*among], n=1)
    return f"\n  Did you mean {prefix}{near[0]}?" if near else ""
