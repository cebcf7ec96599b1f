"""Every error étude raises on purpose, each with the exit code it ends the command with."""

from collections.abc import Iterable
from difflib import get_close_matches


class EtudeError(Exception):
    """A user can act on this: what was asked, what is so, what would work."""

    exit_code = 1


class ConfigError(EtudeError):
    """A key, a value or a choice that cannot be accepted."""

    exit_code = 2


class CompositionError(ConfigError):
    """Choices that are each legal and do not fit together."""


class MissingExtraError(ConfigError):
    """An optional dependency that the chosen plugin needs is not installed."""


class DataError(EtudeError):
    """Data that cannot be read, or holds nothing to learn from."""

    exit_code = 3


class CheckpointError(EtudeError):
    """No checkpoint, model folder or tokenizer that can be trusted."""

    exit_code = 4


class ServerError(EtudeError):
    """A server that a reward or a judge asks gave no answer that can be used."""


class NonFiniteError(EtudeError):
    """A loss or gradient became NaN or infinite; the weights were not touched."""

    exit_code = 5


class DiskFullError(EtudeError):
    """The device that holds the run folder has no space left."""

    exit_code = 6


class PreemptedError(EtudeError):
    """A signal asked the run to stop; it saved a checkpoint first. Start it again."""

    exit_code = 75


class InterruptedRunError(EtudeError):
    """A person pressed Ctrl-C; what could be saved was."""

    exit_code = 130


PAGE = 25
"""Lines of the longest message."""


def page(error: EtudeError) -> str:
    """The message of an error, on one screen."""
    lines = str(error).splitlines()
    return "\n".join(lines if len(lines) <= PAGE else [*lines[: PAGE - 1], "  ..."])


def did_you_mean(name: str, among: Iterable[str], prefix: str = "") -> str:
    """A line that offers the nearest of `among` after `prefix`, or nothing."""
    near = get_close_matches(name, [*among], n=1)
    return f"\n  Did you mean {prefix}{near[0]}?" if near else ""
