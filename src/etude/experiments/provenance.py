"""Provenance of a generated file: the verb that wrote it, and the runs it used, by digest.

The origin of `rows.jsonl` is stored next to it, in `rows.jsonl.origin.json`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from etude.config.config_file import nodes
from etude.config.plugin_files import source_digest
from etude.config.registry import plugin_of
from etude.config.schema.curation import SamplingConfig
from etude.files.atomic import sha256, write_atomic
from etude.files.json_file import read_json, reading

SUFFIX = ".origin.json"
NAMES_A_RUN = re.compile(r"(^(init_from|run|user)|\.(run|replay))$")
NAMES_FILES = re.compile(r"\.path$")
Table: TypeAlias = dict[str, Any]  # of values of any type


@dataclass(frozen=True)
class Origin:
    """Verb and runs that produced a file."""

    verb: str
    digest: str
    """SHA-256 of the file when it was written."""
    parents: Mapping[str, tuple[str, str]]
    """The runs used, by the config key that names them: folder and digest."""


def references(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the values of a config that name runs, models or files, by their full keys."""
    if isinstance(values, dict):
        for key, value in cast("Table", values).items():
            yield from references(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, str) and (NAMES_A_RUN.search(path) or NAMES_FILES.search(path)):
        yield path, values


def write_origin(verb: str, config: SamplingConfig) -> None:
    """Writes the origin of a file that a verb has written."""
    from etude.formats.model import read_model  # imports torch

    values = asdict(config)
    runs = {key: Path(place) for key, place in references(values) if NAMES_A_RUN.search(key)}
    parents = {
        key: {"place": str(place.absolute()), "digest": read_model(place).identity}
        for key, place in runs.items()
    }
    file = Path(config.out)
    plugins = {
        plugin_of(node).address: source_digest(plugin_of(node).file) for _, node in nodes(config)
    }
    origin = {
        "verb": verb,
        "sha256": sha256(file),
        "parents": parents,
        "plugins": plugins,
        "values": values,
    }
    text = json.dumps(origin, indent=2, ensure_ascii=False, default=str)
    write_atomic(file.with_name(file.name + SUFFIX), text + "\n")


def origin_of(file: Path) -> Origin | None:
    """Returns the origin of a file; None if it has no origin file."""
    card = file.with_name(file.name + SUFFIX)
    if not card.is_file():
        return None
    read = read_json(card)
    with reading(card):
        parents = {key: (one["place"], one["digest"]) for key, one in read["parents"].items()}
        return Origin(read["verb"], read["sha256"], parents)
