"""Tab completion with Hydra for the verb on the command line; plugins are not imported."""

import os
from collections.abc import Sequence

from etude.config.command_line import CommandLine, config_name
from etude.config.composition import run_hydra
from etude.config.hydra_source import outlines
from etude.config.plugin_files import configurations

DEFAULT_VERB = "train"
"""The verb whose config Hydra loads to print the shell script, before any verb is typed."""


def complete(arguments: Sequence[str], verbs: Sequence[str]) -> int:
    """Prints the shell script (`install=bash`) or, called by that script, the completions."""
    verb = DEFAULT_VERB
    line = CommandLine(("--shell-completion",), tuple(arguments))
    if any(argument.startswith("query=") for argument in arguments):
        command, *words = os.environ["COMP_LINE"].split(" ")
        if len(words) < 2:
            print(" ".join(name for name in verbs if name.startswith("".join(words))))
            return 0
        verb, *rest = words
        os.environ["COMP_LINE"] = " ".join([command, *rest])
    verb = config_name(verb)
    if (configurations()[0] / f"{verb}.yaml").is_file():
        with outlines():
            run_hydra(verb, line, _do_nothing)
    return 0


def _do_nothing(config: object) -> None:
    """The task of Hydra, which does not run for completions."""
