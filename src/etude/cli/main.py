"""The command `etude`: finds the verb, and makes of every error a page and an exit code."""

import ast
import importlib
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from etude.config.command_line import config_name
from etude.errors import ConfigError, EtudeError, did_you_mean, page

VERBS = Path(__file__).resolve().parent / "verbs"
USAGE = """\
étude: language models, from a tokenizer to a chat, every part a plugin.

  etude VERB [key=value ...]

{verbs}

  etude VERB --help     what a verb does, and every key it takes
  etude list            every plugin;  etude show dpo  one of them, with its keys
  etude train --cfg job [key=value ...]   the config these choices make
  etude train -m seed=0,1,2               a sweep
  eval "$(etude -sc install=bash)"        tab completion (bash, zsh, fish)
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code (0 done, 2 config, 3 data, ... 130 interrupted)."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # no line of our source
    try:
        return _dispatch(sys.argv[1:] if arguments is None else arguments)
    except EtudeError as error:
        print(page(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `etude list | head`
        sys.stderr.close()
        return 0


def _dispatch(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb in ("--help", "-h", "help"):
        verbs = "\n".join(f"  {name:<10} {_doc(name).partition(chr(10))[0]}" for name in _verbs())
        print(USAGE.format(verbs=verbs), end="")
        return 0
    if verb == "--version":
        print(f"etude {version('etude')}")
        return 0
    if verb in ("-sc", "--shell-completion"):
        return importlib.import_module("etude.cli.completion").complete(arguments[1:], _verbs())
    if verb not in _verbs():
        raise ConfigError(
            f"etude {verb} does not exist."
            + did_you_mean(verb, _verbs(), "etude ")
            + f"\n  There are: {', '.join(_verbs())}."
        )
    if {"--help", "-h"} & set(arguments):
        print(_help(verb))
        return 0
    return importlib.import_module(f"etude.cli.verbs.{config_name(verb)}").main(arguments[1:])


def _verbs() -> list[str]:
    return sorted(file.stem.replace("_", "-") for file in VERBS.glob("[a-z]*.py"))


def _help(verb: str) -> str:
    """The docstring of a verb, then every key and group that its config takes, if it has one."""
    pages = importlib.import_module("etude.cli.pages.keys")  # Hydra: only where it is needed
    if verb not in pages.verbs():
        return _doc(verb)
    return f"{_doc(verb)}\n\n{pages.help_lines(verb)}"


def _doc(verb: str) -> str:
    """The docstring of a verb's file, which is its help page; the verb is not imported."""
    tree = ast.parse((VERBS / f"{config_name(verb)}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""
