"""Tab completion by Hydra for the verb on the line, reading plugins without importing them."""

import os
from collections.abc import Sequence

from etude.config.command_line import CommandLine, config_name
from etude.config.composition import run_hydra
from etude.config.hydra_source import outlines
from etude.config.plugin_files import configurations

FIRST = "train"
"""The verb whose config Hydra loads to print the shell's script, where no verb is meant yet."""


def complete(arguments: Sequence[str], verbs: Sequence[str]) -> int:
    """Prints the shell script (`install=bash`) or, called by that script, the words that fit."""
    verb = FIRST
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
            run_hydra(verb, line, _nothing)
    return 0


def _nothing(config: object) -> None:
    """Completing runs no task."""
