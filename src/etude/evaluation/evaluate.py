"""One evaluation, from its config to the result."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from etude.capability import Capability
from etude.config.capabilities import capabilities_of, max_positions_of, name_of, needs_line
from etude.config.compatibility import check_extras
from etude.config.composition import compose
from etude.config.config_file import build_config, nodes, to_yaml
from etude.config.plugin_source import descriptions
from etude.config.record_kind import kind_of, text_config
from etude.config.registry import build, plugin_of
from etude.config.schema.evaluation import EvaluationConfig, Split
from etude.config.schema.plugins import DataConfig, PluginConfig
from etude.data.corpus import Records, read
from etude.data.data_card import tokenizer_digest
from etude.data.record_file import read_bad_rows
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
    model = read_model(config.run).with_turns(config.as_turn)
    evaluation = Evaluation(config, task, model)
    if bad := evaluation.bad_rows:
        first = f"{bad[0].place}: {bad[0].reason}"
        print(f"left out  {len(bad):,} bad rows; the first is {first}", file=sys.stderr)
    subject = Subject.open(model, config.batch_size, config.precision)
    return evaluation.result(evaluation.parts(subject), model.identity)


def task_config(task: str, values: Mapping[str, Any]) -> EvaluationConfig:
    """Composes a task. Raises ConfigError if it does not exist, or does not take the values."""
    overrides = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
    composed = compose("evaluate", [f"task={task}", "run=.", *overrides])
    return build_config(composed.config, EvaluationConfig)


class Evaluation:
    """The cases and settings of an evaluation, whichever weights the model has."""

    def __init__(self, config: EvaluationConfig, task: str, model: Model) -> None:
        """Reads the records. Raises ConfigError or DataError if the parts do not fit together."""
        check(config, model)
        self.config = config
        self.task = task
        self.model = model
        self.records = read(config.data)
        self.cases = selected_cases(config, model, self.records)
        self.bad_rows = list(read_bad_rows(self.records.folder))

    def parts(self, subject: Subject, rank: int = 0, n_ranks: int = 1) -> dict[str, Part]:
        """Evaluates the cases of one rank, every n_ranks-th, with each evaluator."""
        cases = self.cases[rank::n_ranks]
        context = context_of(self.config, subject)
        return {
            name: measure(build(one, context), converted(cases, self.config.data, one))
            for name, one in self.config.evaluator.items()
        }

    def result(self, parts: Mapping[str, Part], identity: str) -> Result:
        """Returns the result, of weights that `identity` identifies."""
        config = self.config
        split = split_of(config, self.model).value
        asked = {
            "task": self.task,
            "run": str(self.model.folder),
            "model": identity,
            "tokenizer": tokenizer_digest(self.model.tokenizer),
            "prompt_format": self.model.prompt_format,
            "data": {**_values(config.data), "digest": self.records.digest, "split": split},
            "evaluator": {name: _values(one) for name, one in config.evaluator.items()},
            "prompting": _values(config.prompting),
            "scorer": _values(config.scorer),
            "decoding": _values(config.decoding),
            "n_bad_rows": len(self.bad_rows),
            "n_items": config.n_items,
            "max_new_tokens": config.max_new_tokens,
            "precision": config.precision.value,
            "seed": config.seed,
        }
        return Result(asked, parts)


def context_of(config: EvaluationConfig, subject: Subject) -> EvaluatorContext:
    """Returns what the evaluators use."""
    return EvaluatorContext(
        subject,
        build_prompting(config.prompting, config.data, config.seed),
        build(config.scorer),
        build(config.decoding, subject.model.tokenizer),
        config.data.seq_len,
        config.max_new_tokens,
        config.seed,
    )


def measure(evaluator: AnyEvaluator, cases: Sequence[Case[Any]]) -> Part:
    """Evaluates cases with one evaluator."""
    items = [
        replace(item, prompt=digest_of(list(ids)))
        for ids, item in zip(evaluator.questions(cases), evaluator.evaluate(cases), strict=True)
    ]
    return Part(evaluator.metrics, items)


def joined(parts: Sequence[Mapping[str, Part]]) -> dict[str, Part]:
    """Returns the parts of all ranks as one, in the order of the ids."""
    return {
        name: Part(
            part.metrics,
            sorted((item for one in parts for item in one[name].items), key=lambda item: item.id),
        )
        for name, part in parts[0].items()
    }


def check(config: EvaluationConfig, model: Model) -> None:
    """Raises ConfigError if there is no evaluator, or one that the data or the model do not fit."""
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
        _check_needs(name, plugin_of(one).declaration.needs, model)
    limit = max_positions_of(model.architecture)
    if text_config(config.data) and limit is not None and config.data.seq_len > limit:
        raise CompositionError(
            f"data.seq_len={config.data.seq_len} is longer than the {limit} positions of "
            f"{model.folder}.\n  Use data.seq_len={limit}: longer texts are read in windows."
        )


def _check_needs(name: str, needs: frozenset[Capability], model: Model) -> None:
    provided = capabilities_of(model.architecture)
    if needs <= provided:
        return
    names = {one.name for one in provided}
    able = [n for n, one in descriptions("evaluator").items() if one.names("needs") <= names]
    raise CompositionError(
        f"evaluator={name} cannot evaluate {model.folder} "
        f"(architecture={name_of(model.architecture)}).\n  {needs_line(needs - provided)}\n"
        f"  Evaluators for this model: {', '.join(able)}."
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


def selected_cases(
    config: EvaluationConfig, model: Model, records: Records
) -> Sequence[Case[Record]]:
    """Returns the cases to evaluate. Raises DataError if there are none."""
    split = split_of(config, model)
    train = [] if split is Split.validation else list(records.train)
    val = [] if split is Split.train else list(records.val)
    if not (cases := cases_of([*train, *val])[: config.n_items]):
        raise DataError(f"split={split.value} of the data has no records.")
    return cases


def converted(
    cases: Sequence[Case[Any]], data: DataConfig, evaluator: PluginConfig
) -> Sequence[Case[Any]]:
    """Returns the cases as the kind of record that the evaluator reads."""
    convert = conversion_for(kind_of(data) or object, plugin_of(evaluator).declaration.reads)
    return [Case(one.id, convert(one.record)) for one in cases] if convert else cases


def _values(config: PluginConfig) -> dict[str, Any]:
    parts = {f"{path}.plugin": plugin_of(node).address for path, node in nodes(config) if path}
    return {"plugin": plugin_of(config).address, **parts, **to_yaml(config)}
