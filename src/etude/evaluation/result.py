"""Result files: what was asked, the metrics, and one item a line."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etude.errors import ConfigError
from etude.evaluation.intervals import Interval, interval
from etude.evaluation.item import Item, Metric, Outcome, rounded
from etude.files.atomic import write_atomic
from etude.files.cache import digest_of
from etude.files.json_file import read_json

VERSION = 1


@dataclass(frozen=True)
class Part:
    """The items of one evaluator, in the order of their ids, and what they are summed to."""

    metrics: Sequence[Metric]
    items: Sequence[Item]

    @property
    def prompts(self) -> str:
        """A digest of everything that the model read."""
        return joint_digest(item.prompt for item in self.items)

    def value(self, metric: Metric) -> float:
        """Returns a metric over all items."""
        return rounded(metric.of([item.values for item in self.items]))

    def interval(self, metric: Metric) -> Interval:
        """Returns the 95 % confidence interval of a metric."""
        return interval(metric, [item.values for item in self.items])

    def named(self) -> dict[str, float]:
        """Returns the value of each metric by name."""
        return {metric.name: self.value(metric) for metric in self.metrics}


def joint_digest(prompts: Iterable[str]) -> str:
    """Returns the digest of the prompts of all items, from the digest of each."""
    return digest_of(list(prompts))


@dataclass(frozen=True)
class Result:
    """An evaluation of one model."""

    asked: Mapping[str, Any]  # JSON: all that decides the numbers
    parts: Mapping[str, Part]
    """By the name of the evaluator."""

    def write(self, file: Path) -> None:
        """Writes the result; the same question to the same model gives the same bytes."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, self.text())

    def text(self) -> str:
        """Returns the content of the file: a JSON object with one item a line."""
        asked = json.dumps(self.asked, ensure_ascii=False, indent=1, sort_keys=True)
        parts = [f"{_json(name)}: {_part_text(part)}" for name, part in self.parts.items()]
        results = ",\n".join(parts)
        body = {"version": str(VERSION), "asked": asked, "results": f"{{{results}}}"}
        return _object(body) + "\n"


def _part_text(part: Part) -> str:
    metrics = _lines([_metric_row(part, metric) for metric in part.metrics])
    items = _lines([asdict(item) for item in part.items])
    head = {"n": str(len(part.items)), "prompts": _json(part.prompts)}
    return _object({**head, "metrics": metrics, "items": items})


def _metric_row(part: Part, metric: Metric) -> dict[str, Any]:
    found = part.interval(metric)
    numbers = {"value": part.value(metric), "low": found.low, "high": found.high}
    known = {key: None if math.isnan(value) else value for key, value in numbers.items()}
    return {**asdict(metric), **known, "interval": found.method}


def _object(texts: Mapping[str, str]) -> str:
    """Returns a JSON object of values that are JSON already."""
    body = ",\n".join(f"{_json(key)}: {text}" for key, text in texts.items())
    return f"{{{body}}}"


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    body = ",\n".join(map(_json, rows))
    return f"[\n{body}]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def read_result(file: Path) -> Result:
    """Reads a result file. Raises ConfigError for another file."""
    content = read_json(file)
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ConfigError(f"{file} is not a result of etude evaluate.")
    parts = {
        name: Part(
            [_metric(one) for one in part["metrics"]],
            [_item(one) for one in part["items"]],
        )
        for name, part in content["results"].items()
    }
    return Result(content["asked"], parts)


def _metric(row: Mapping[str, Any]) -> Metric:
    return Metric(**{name: row[name] for name in Metric.__dataclass_fields__})


def _item(row: Mapping[str, Any]) -> Item:
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    return Item(row["id"], row["values"], outcome, row["shown"], row["prompt"])
