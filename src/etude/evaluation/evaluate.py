"""One evaluation, from its config to the result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

from etude.config.compatibility import check_extras
from etude.config.record_kind import kind_of
from etude.config.registry import build, plugin_of
from etude.config.schema.evaluation import EvaluationConfig, Split
from etude.config.schema.plugins import DataConfig, PluginConfig
from etude.data.corpus import Records, read
from etude.data.data_card import tokenizer_digest
from etude.errors import CompositionError, ConfigError, DataError
from etude.evaluation.evaluator import Evaluator, EvaluatorContext
from etude.evaluation.item import Case, cases_of
from etude.evaluation.prompting import build_prompting, check_prompting
from etude.evaluation.result import Part, Result
from etude.evaluation.subject import Subject
from etude.files.cache import digest_of
from etude.formats.model import Model, read_model
from etude.records import Record, conversion_for

AnyEvaluator = Evaluator[Any, Any]


def evaluate(config: EvaluationConfig, task: str) -> Result:
    """Evaluates a model. Raises ConfigError or DataError if the parts do not fit together."""
    check(config)
    model = read_model(config.run).with_turns(config.as_turn)
    records = read(config.data)
    split = split_of(config, model)
    cases = cases_of(records_of(records, split))[: config.n_items]
    if not cases:
        raise DataError(f"split={split.value} of the data has no records.")
    prompting = build_prompting(config.prompting, config.data, config.seed)
    subject = Subject.open(model, config.batch_size, config.precision)
    context = EvaluatorContext(
        subject,
        prompting,
        build(config.scorer),
        build(config.decoding, model.tokenizer),
        config.data.seq_len,
        config.max_new_tokens,
        config.seed,
    )
    parts = {
        name: measure(build(one, context), converted(cases, config.data, one))
        for name, one in config.evaluator.items()
    }
    return Result(_asked(config, task, model, records, split), parts)


def measure(evaluator: AnyEvaluator, cases: Sequence[Case[Any]]) -> Part:
    """Evaluates cases with one evaluator."""
    prompts = digest_of([list(ids) for ids in evaluator.questions(cases)])
    return Part(evaluator.metrics, evaluator.evaluate(cases), prompts)


def check(config: EvaluationConfig) -> None:
    """Raises ConfigError if there is no evaluator, or one that cannot read the data."""
    check_extras(config)
    check_prompting(config.prompting, config.decoding)
    if not config.evaluator:
        raise ConfigError(
            "etude evaluate measures nothing: no evaluator is chosen.\n"
            "  Choose evaluator=[...] or a task: task=<name>."
        )
    for name, one in config.evaluator.items():
        reads = plugin_of(one).declaration.reads
        kind = kind_of(config.data)
        if kind not in reads and not any(_converts(kind, wanted) for wanted in reads):
            kinds = ", ".join(sorted(kind.__name__ for kind in reads))
            raise CompositionError(
                f"evaluator={name} cannot evaluate {plugin_of(config.data).address}.\n"
                f"  It reads {kinds}; this data yields {kind.__name__ if kind else 'nothing'}."
            )


def _converts(kind: type | None, wanted: type) -> bool:
    from etude.records import CONVERSIONS

    return (kind, wanted) in CONVERSIONS


def split_of(config: EvaluationConfig, model: Model) -> Split:
    """Returns the split that `auto` stands for."""
    if config.split is not Split.auto:
        return config.split
    path = asdict(config.data).get("path")
    return Split.validation if path is None or path == model.data_path else Split.all


def records_of(records: Records, split: Split) -> list[Record]:
    """Returns the records of a split."""
    train = [] if split is Split.validation else list(records.train)
    return [*train, *([] if split is Split.train else records.val)]


def converted(
    cases: Sequence[Case[Any]], data: DataConfig, evaluator: PluginConfig
) -> Sequence[Case[Any]]:
    """Returns the cases as the kind of record that the evaluator reads."""
    convert = conversion_for(kind_of(data) or object, plugin_of(evaluator).declaration.reads)
    return [Case(one.id, convert(one.record)) for one in cases] if convert else cases


def _asked(
    config: EvaluationConfig, task: str, model: Model, records: Records, split: Split
) -> Mapping[str, Any]:
    return {
        "task": task,
        "run": config.run,
        "model": model.identity,
        "tokenizer": tokenizer_digest(model.tokenizer),
        "prompt_format": model.prompt_format,
        "data": {**_values(config.data), "digest": records.digest, "split": split.value},
        "evaluator": {name: _values(one) for name, one in config.evaluator.items()},
        "prompting": _values(config.prompting),
        "scorer": _values(config.scorer),
        "decoding": _values(config.decoding),
        "n_items": config.n_items,
        "max_new_tokens": config.max_new_tokens,
        "precision": config.precision.value,
        "seed": config.seed,
    }


def _values(config: PluginConfig) -> dict[str, Any]:
    return {"plugin": plugin_of(config).address, **asdict(config, dict_factory=_named)}


def _named(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the values of a config for JSON: enums by name."""
    return {key: value.name if isinstance(value, Enum) else value for key, value in items}
