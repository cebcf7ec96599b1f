"""Prepares the data of an experiment and shows its card; takes what train takes.

Records, bad rows, tokens, and how well the tokenizer fits; no network is built.
"""

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import typed

VERB = "data"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        from etude.training.resume import inherited

        config = inherited(typed(composed.config), line.overrides)
        from etude.training.run import corpus_of  # torch: only once nothing can be refused any more

        print(corpus_of(config).card)
    return 0
