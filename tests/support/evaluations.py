"""A tiny model in memory to evaluate, and evaluators of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny

from etude.config.registry import build
from etude.data.tokenizer import Tokenizer
from etude.evaluation.evaluator import EvaluatorContext
from etude.evaluation.item import Item, cases_of
from etude.evaluation.prompting import Examples
from etude.evaluation.subject import Subject
from etude.formats.model import Model
from etude.records import Record


def subject(
    architecture: Any = None,
    network: Any = None,
    batch_size: int = 4,
    tokenizer: Tokenizer = tiny.BYTES,
) -> Subject:
    """A model with random weights; by default a decoder of bytes."""
    config = architecture or tiny.stack(position="rope")
    made = network or tiny.network(config, tokenizer.vocab)
    model = Model(Path("a_run"), config, tokenizer, tiny.part("tokenizer", "byte"))
    return Subject(model, made, batch_size)


def context(made: Subject | None = None, **values: Any) -> EvaluatorContext:
    """The context of an evaluator, with a greedy decoding."""
    given: dict[str, Any] = {
        "prompting": build(tiny.part("prompting", "zero_shot"), Examples([], 0)),
        "scorer": build(tiny.part("scorer", "exact")),
        "decoding": tiny.decoding("greedy"),
        "seq_len": 16,
        "max_new_tokens": 4,
        "seed": 0,
    }
    return EvaluatorContext(made or subject(), **(given | values))


def evaluator(name: str, given: EvaluatorContext | None = None, **knobs: Any) -> Any:
    """An evaluator plugin; the class is the plugin's own."""
    return build(tiny.part("evaluator", name, **knobs), given or context())


def items(made: Any, records: Sequence[Record]) -> list[Item]:
    """The item of each record, in the order of the records."""
    by_record = {id(case.record): case for case in cases_of(records)}
    return made.evaluate([by_record[id(record)] for record in records])


def metrics(made: Any, records: Sequence[Record]) -> dict[str, float]:
    """The value of each metric."""
    values = [item.values for item in items(made, records)]
    return {metric.name: metric.of(values) for metric in made.metrics}
