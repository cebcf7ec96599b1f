"""Prepares the data of a run; builds and imports no network, unless a parent is read."""

from pathlib import Path

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus, prepare
from etude.objective.randomness import seed_global


def corpus_of(config: ExperimentConfig, folder: Path | None = None) -> Corpus:
    """Prepares the training data of a new run, or of the run in `folder`, with its tokenizer.

    A new run has the tokenizer of its parent if it has one.
    """
    seed_global(config.seed)  # for readers that draw from the global generators
    if folder is not None:
        from etude.training.inputs import stored_tokenizer

        return prepare(config, stored_tokenizer(folder))
    if config.init_from is None:
        return prepare(config, None)
    from etude.formats.model import read_model

    return prepare(config, read_model(config.init_from).tokenizer)
