"""Prepares the data of an experiment and shows its card; takes what train takes.

Records, bad rows, tokens, and how well the tokenizer fits; no network is built.
"""

from etude import composition
from etude.command_line import prepare
from etude.config_file import typed
from etude.resume import inherited

VERB = "data"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        config = inherited(typed(composed.config), line.overrides)
        from etude.worker import corpus_of  # torch: only once nothing can be refused any more

        print(corpus_of(config).card)
    return 0
