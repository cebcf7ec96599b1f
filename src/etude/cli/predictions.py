"""Answers of a run's head, for `etude generate`: on a prompt, a file or standard input."""

import json
import sys
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config.schema.effect import as_typed
from etude.config.schema.generation import GenerationConfig
from etude.errors import ConfigError, DataError
from etude.records import BadRow

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.data.rows import Row
    from etude.formats.model import Model
    from etude.objective.head_objective import Query

GENERATION = ("as_turn", "system", "max_new_tokens", "n", "stop", "seed")
"""The knobs that only affect generated text."""
STANDARD_INPUT = "-"
N_QUERIES = 32
"""Number of queries that are answered together."""


def writes_predictions(config: GenerationConfig, model: "Model") -> bool:
    """Prints the answers of a model with a trained head; returns whether it is one.

    A prompt is answered in lines for a person, each text of a file in a row of JSON. Raises
    ConfigError for knobs without effect, and if there is nothing to answer.
    """
    from etude.objective.head_objective import Query, answers_queries, read_head

    if not answers_queries(model.objective):
        refuse_unused(config, ("second", "input"), "has no trained head, and writes text")
        if config.prompt is None:
            raise ConfigError("prompt has no value.\n  Give a text: prompt=<text>.")
        return False
    if (config.prompt is None) == (config.input is None):
        raise ConfigError("Give either prompt=<text> or input=<file of texts>.")
    refuse_unused(config, GENERATION, "answers with its trained head and generates no text")
    head = read_head(model)
    if config.prompt is not None:
        (answer,) = head.predict([Query(config.prompt, config.second)])
        print("\n".join(answer.lines))
        return True
    refuse_unused(config, ("second",), "answers about the texts of a file, which contain it")
    queries = _queries(str(config.input))
    while part := [*islice(queries, N_QUERIES)]:
        for query, answer in zip(part, head.predict(part), strict=True):
            given = {name: value for name, value in vars(query).items() if value is not None}
            print(json.dumps({**given, **answer.values}, ensure_ascii=False), flush=True)
    return True


def refuse_unused(config: GenerationConfig, names: Collection[str], why: str) -> None:
    """Raises ConfigError if a knob that has no effect, as `run` does this, is not its default."""
    defaults = vars(GenerationConfig())
    for name in names:
        value = vars(config)[name]
        if value != defaults[name]:
            raise ConfigError(f"{name}={as_typed(value)} has no effect: {config.run} {why}.")


def _queries(source: str) -> Iterator["Query"]:
    """Yields a query for each line, or for each row of a file of JSON Lines.

    Raises DataError for a file that cannot be read, and for a row that is no query.
    """
    from etude.data.json_rows import read_json_rows
    from etude.data.readers import lines
    from etude.objective.head_objective import Query

    if source == STANDARD_INPUT:
        yield from (Query(line.removesuffix("\n")) for line in sys.stdin)
        return
    file = Path(source)
    if not file.is_file():
        raise DataError(f"input={source} is not a file.\n  Name a file, or - for standard input.")
    for row in read_json_rows(file) if file.suffix == ".jsonl" else lines(file):
        if isinstance(row, BadRow):
            raise DataError(f"{row.place}: {row.reason}")
        yield Query(row[1].removesuffix("\n")) if isinstance(row, tuple) else _query(row)


def _query(row: "Row") -> "Query":
    """The query of a row: `text`, a text or a list of words, and `second` if there is one."""
    from etude.data.rows import BadFieldError, MissingFieldError
    from etude.objective.head_objective import Query

    try:
        words = isinstance(row.value("text"), list)
        second = None if row.optional("second") is None else row.text("second")
        return Query(row.texts("text") if words else row.text("text"), second)
    except (BadFieldError, MissingFieldError) as error:
        raise DataError(f"{row.place}: {error}") from error
