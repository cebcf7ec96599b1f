"""Converts the vocabulary files of older folders to a tokenizer.json, as transformers does."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from etude.errors import CheckpointError, MissingExtraError

VOCABULARIES: Final = (
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
)
"""The files that contain a vocabulary, of WordPiece, byte-pair encoding and SentencePiece."""
OF_THE_MODEL: Final = ("config.json", "generation_config.json")


def old_files(folder: Path) -> tuple[str, ...]:
    """The vocabulary files of a folder that can be converted; empty if there are none."""
    found = (names for names in VOCABULARIES if all((folder / name).is_file() for name in names))
    return next(found, ())


def convert(folder: Path, into: Path) -> None:
    """Writes the tokenizer.json of a folder with `old_files`, and the files next to it.

    Raises MissingExtraError without transformers, CheckpointError if it cannot read the folder.
    """
    names = old_files(folder)
    needed = ("transformers", *(["sentencepiece"] if names[0].endswith(".model") else []))
    if missing := [name for name in needed if find_spec(name) is None]:
        raise MissingExtraError(
            f"{folder} has no tokenizer.json, only {' and '.join(names)}. Converting it needs "
            f"{missing[0]}, which is not installed.\n"
            "  Install it with pip install 'etude[transformers]', or save the tokenizer again with "
            "a current\n  transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(...)."
        )
    import transformers

    auto: Any = transformers.AutoTokenizer
    try:
        auto.from_pretrained(folder, local_files_only=True).save_pretrained(into)
    except Exception as error:  # the converters raise what the files make them raise
        raise CheckpointError(
            f"transformers cannot convert {' and '.join(names)} in {folder}: {error}\n"
            "  config.json must name the model_type, or tokenizer_config.json the tokenizer_class."
        ) from error
    for name in OF_THE_MODEL:
        if (folder / name).is_file():
            shutil.copy(folder / name, into / name)
