"""Renders chat templates in another process, within limits of time and memory.

The limits hold for all texts together: the first text that passes one refuses the template for
good, since every row of a file would.
"""

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias

from etude.data import template_worker
from etude.data.template_worker import TEXT, TOO_MUCH
from etude.errors import DataError

FAILED = "The chat template cannot render the messages: "
SHOWN_CHARS = 60
TEXT_S = 2.0
ALL_S = 10.0
MEAN_S = 0.05
"""Limits of CPU time, in seconds: of a text; and of n texts, ALL_S + MEAN_S * n. A usual template
needs less than a millisecond."""
Cut: TypeAlias = tuple[int, bool]
"""A number of messages, and whether the header of an answer follows them."""


class TemplateError(DataError):
    """A chat template cannot render a conversation; the message contains the reason."""


class RefusedTemplateError(DataError):
    """A chat template needs too much time or memory; no other conversation is tried."""


class _Worker:
    """A process of `template_worker`."""

    def __init__(self) -> None:
        limits = map(str, (os.getpid(), TEXT_S, ALL_S, MEAN_S))
        self.process = subprocess.Popen(
            [sys.executable, "-P", template_worker.__file__, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the parent
        )
        weakref.finalize(self, _stop, self.process)

    def answers(self, request: str) -> list[tuple[str, str]]:
        """The kinds and texts of an answer; TOO_MUCH if the worker does not survive it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        if line := self.process.stdout.readline():
            return json.loads(line)
        if (code := self.process.wait()) == -signal.SIGPROF:
            return [(TOO_MUCH, f"{TEXT_S:g} s of CPU time for a text, or {MEAN_S:g} s on average")]
        return [(TOO_MUCH, f"its process can give, which ended with code {code}")]


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a worker; in a fork of its parent, only closes the pipes."""
    process.kill()
    with suppress(BrokenPipeError), process:
        pass


@cache
def _idle() -> list[_Worker]:
    """Workers that wait for a request; one that was interrupted is not among them."""
    return []


os.register_at_fork(after_in_child=_idle.cache_clear)


@cache
def _refused() -> dict[str, str]:
    """The templates that are refused, and what each needs more than."""
    return {}


def rendered(
    template: str, variables: Mapping[str, Any], cuts: Sequence[Cut]
) -> list[str | TemplateError]:
    """The text of each cut, or why there is none; the last is the first text with marked turns.

    Raises RefusedTemplateError if the template needs too much time or memory.
    """
    if template not in _refused():
        worker = _idle().pop() if _idle() else _Worker()
        if worker.process.poll() is not None:
            worker = _Worker()
        answers = worker.answers(json.dumps([template, variables, cuts]))
        kind, what = answers[-1]
        if kind != TOO_MUCH:
            _idle().append(worker)
            return [one if kind == TEXT else TemplateError(FAILED + one) for kind, one in answers]
        _refused()[template] = what
    raise RefusedTemplateError(
        f"The chat template needs more than {_refused()[template]}, so it is not used.\n"
        f"  It begins with {template[:SHOWN_CHARS]!r}.\n"
        "  Choose another (template=chatml; as_turn=false generates without one), or correct it."
    )
