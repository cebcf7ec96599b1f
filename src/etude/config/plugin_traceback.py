"""Shows an exception of a plugin on one screen: reason, right name, file, line and source."""

import builtins
import os
import re
import sys
import traceback
from importlib.metadata import packages_distributions
from pathlib import Path
from types import FrameType

from etude.config.plugin_files import ROOT, roots
from etude.errors import did_you_mean

VARIABLE = "ETUDE_TRACEBACK"
"""The environment variable that makes the command show whole tracebacks."""
N_SHOWN = 6
"""The most lines of a message, places of a traceback and plugins to show."""


def plugin_page(error: Exception) -> str | None:
    """The page of an exception that a plugin raised, or that one of the user's own may have caused.

    None for an exception with which no plugin can have anything to do, and if the user wants the
    whole traceback.
    """
    if os.environ.get(VARIABLE):
        return None
    lines = places(error)
    if not lines and (own := _own_plugins()):
        last = traceback.extract_tb(error.__traceback__)[-1]
        lines = [f"  {last.filename}:{last.lineno}, in {last.name}", f"    {last.line}"]
        lines += ["  Does a plugin of yours return what its group's contract says? Test it:"]
        lines += [f"  {file}: etude check {choice}" for choice, file in own[-N_SHOWN:]]
    shown = [*reason(error).splitlines()[:N_SHOWN], *lines, f"  {VARIABLE}=1 shows every call."]
    return "\n".join(shown) if lines else None


def reason(error: BaseException) -> str:
    """The type and message of an exception, with the name that was probably meant."""
    known: list[str] = []
    name = ""
    if isinstance(error, ImportError) and (
        match := re.match(r"cannot import name '(\w+)'", error.msg)
    ):
        name, known = match[1], dir(sys.modules.get(error.name or ""))
    elif isinstance(error, ModuleNotFoundError):
        name, known = error.name or "", [*packages_distributions()]
    elif isinstance(error, AttributeError):
        # not dir(), which torch's modules override and which may fail
        name, known = str(error.name), [*object.__dir__(error.obj)]
    elif isinstance(error, NameError) and (frame := _last_frame(error)):
        name, known = str(error.name), [*frame.f_locals, *frame.f_globals, *dir(builtins)]
    return f"{type(error).__name__}: {error}{did_you_mean(name, known)}"


def places(error: BaseException) -> list[str]:
    """Two lines for each call inside a plugin, outermost first: where it is, and its source."""
    folders = roots()
    found: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        if any(Path(frame.filename).is_relative_to(folder) for folder in folders):
            found += [f"  {frame.filename}:{frame.lineno}, in {frame.name}", f"    {frame.line}"]
    if isinstance(error, SyntaxError):  # in a module that a plugin imports
        found += [f"  {error.filename}:{error.lineno}", f"    {(error.text or '').strip()}"]
    return found[-2 * N_SHOWN :]


def _own_plugins() -> list[tuple[str, str]]:
    """The loaded plugins that do not ship with étude: as typed, and the file."""
    own: list[tuple[str, str]] = []
    for name, module in sys.modules.items():
        group, _, option = name.removeprefix(f"{ROOT}.").rpartition(".")
        file = module.__file__ if name.startswith(f"{ROOT}.") and option[0] != "_" else None
        if file and not Path(file).is_relative_to(roots()[0]):
            own.append((f"{group.replace('.', '/')}={option}", file))
    return own


def _last_frame(error: BaseException) -> FrameType | None:
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return last and last.tb_frame
