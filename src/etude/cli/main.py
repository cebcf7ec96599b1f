"""The command `etude`: runs a verb, and turns errors into a message and an exit code."""

import ast
import importlib
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from etude.config.command_line import config_name
from etude.config.plugin_traceback import plugin_page
from etude.errors import ConfigError, EtudeError, did_you_mean, page
from etude.files.disk import disk_full_error
from etude.files.secret import HINT, is_secret, redacted
from etude.processes import ended_by_signals

VERBS = Path(__file__).resolve().parent / "verbs"
USAGE = """\
étude: language model experiments in which every part is a plugin.

  etude VERB [key=value ...]

{verbs}

  etude VERB --help     what a verb does, and every key it takes
  etude list            lists every plugin;  etude show dpo  shows one, with its keys
  etude train --cfg job [key=value ...]   prints the composed config
  etude train -m seed=0,1,2               runs a sweep
  eval "$(etude -sc install=bash)"        tab completion (bash, zsh, fish)
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code (0 done, 2 config, 3 data, ... 130 interrupted)."""
    warnings.formatwarning = lambda message, *_: f"warning: {redacted(str(message))}\n"
    with ended_by_signals():
        try:
            with disk_full_error():
                return _dispatch(sys.argv[1:] if arguments is None else arguments)
        except EtudeError as error:
            print(redacted(page(error)), file=sys.stderr)
            return error.exit_code
        except BrokenPipeError:  # `etude list | head`
            sys.stderr.close()
            return 0
        except Exception as error:  # a plugin may raise anything
            if (text := plugin_page(error)) is None:
                raise
            print(redacted(text), file=sys.stderr)
            return 1


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
            + f"\n  Verbs: {', '.join(_verbs())}."
        )
    _refuse_secrets(arguments)
    if {"--help", "-h"} & set(arguments):
        print(_help(verb))
        return 0
    return importlib.import_module(f"etude.cli.verbs.{config_name(verb)}").main(arguments[1:])


def _refuse_secrets(arguments: list[str]) -> None:
    """Raises ConfigError for a secret in an argument, before anything can store it."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if is_secret(argument) or is_secret(value, key):
            raise ConfigError(f"{redacted(key)} contains a secret.\n  {HINT}")


def _verbs() -> list[str]:
    return sorted(file.stem.replace("_", "-") for file in VERBS.glob("[a-z]*.py"))


def _help(verb: str) -> str:
    """The docstring of a verb, and every key and group of its config, if it has one."""
    pages = importlib.import_module("etude.cli.pages.keys")  # imports Hydra: only for help
    if verb not in pages.verbs():
        return _doc(verb)
    return f"{_doc(verb)}\n\n{pages.help_lines(verb)}"


def _doc(verb: str) -> str:
    """The docstring of a verb's module, which is its help page, without importing it."""
    tree = ast.parse((VERBS / f"{config_name(verb)}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""
