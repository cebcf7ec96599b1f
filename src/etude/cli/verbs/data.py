"""Prepares the data of an experiment and shows its data card; takes the arguments of train.

    etude data data=jsonl_chats data.path=chats.jsonl
    etude data run=outputs/base

Shows records, bad rows, tokens and tokenizer statistics; no network is built.
"""

from etude.config import composition
from etude.config.command_line import prepare

VERB = "data"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        from etude.training.experiment import read_experiment

        config, folder = read_experiment(composed, line.overrides, checked=False)
        from etude.training.run import corpus_of  # imports torch: only after all checks

        print(corpus_of(config, folder).card)
    return 0
