"""Prepares the data of an experiment and shows its data card; takes the arguments of train.

Shows records, bad rows, tokens and tokenizer statistics; no network is built.
"""

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import to_experiment

VERB = "data"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        from etude.training.resume import inherit_from_parent

        config = inherit_from_parent(to_experiment(composed.config), line.overrides)
        from etude.training.run import corpus_of  # imports torch: only after all checks

        print(corpus_of(config).card)
    return 0
