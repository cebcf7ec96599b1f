"""The inputs of a run, stored as digests: plugins, tokenizer, data and parents.

A run that resumes compares them before it changes anything. The tokenizer never changes: a run
keeps its own copy. Other changes have to be accepted, and are recorded in `changes.jsonl`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from etude.config import config_file
from etude.config.config_file import changed_plugins, nodes
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import PluginConfig
from etude.config.schema.trainer import Input
from etude.data.complete_tokenizer import complete_tokenizer
from etude.data.corpus import Corpus, data_digest
from etude.data.data_card import tokenizer_digest
from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError, DataError
from etude.files.json_file import reading
from etude.files.run_folder import CARD, CHANGES, PARENTS, TOKENIZER
from etude.files.seal import read_sealed, read_sealed_json, write_sealed
from etude.formats.model import Model, read_model, tokenizer_of_run

SHOWN = 8
"""Maximum number of changes in a message."""
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Change:
    """A difference between a run as it was started and as it would resume."""

    what: str
    was: str | float | None
    now: str | float | None
    input: Input | None = None
    """What would have to be accepted; None for a length, a rate or the tokenizer."""

    def __str__(self) -> str:
        """Returns both values; digests are shortened."""
        was, now = (v[:SHOWN_DIGITS] if isinstance(v, str) else v for v in (self.was, self.now))
        return f"{self.what}: was {was}, is {now}"


def save_inputs(config: ExperimentConfig, corpus: Corpus, folder: Path) -> None:
    """Writes the config and the digests of all inputs; the config last, as it marks a run."""
    corpus.card.save(folder)
    digests = {key: model.identity for key, model in parents(config).items()}
    write_sealed(folder / PARENTS, json.dumps(digests, indent=2) + "\n")
    config_file.save_config(config, folder)


def parents(config: ExperimentConfig) -> dict[str, Model]:
    """Returns the models this run depends on, by the config keys that name them.

    Raises ConfigError for one that does not exist.
    """
    named = {f"{path}.run": run for path, node in nodes(config) if (run := node.teacher)}
    named |= {"init_from": config.init_from} if config.init_from is not None else {}
    return {key: read_model(run) for key, run in named.items()}


def stored_tokenizer(folder: Path) -> Tokenizer:
    """Returns the tokenizer of a run. Raises CheckpointError if it is not the one it saved."""
    tokenizer = tokenizer_of_run(folder)
    was = _stored(folder / CARD, "tokenizer", "digest")
    now = tokenizer_digest(tokenizer)
    if now != was:
        raise CheckpointError(
            f"{folder} cannot resume: its tokenizer has changed since it was started.\n"
            f"  {Change(str(folder / TOKENIZER), was, now)}\n"
            "  Nothing was changed. Restore it: the weights depend on it."
        )
    return tokenizer


def changed_inputs(config: ExperimentConfig, folder: Path) -> list[Change]:
    """Returns what has changed since the run in `folder`, with this config, was started."""
    return list(_changed_inputs(config, folder))


def _changed_inputs(config: ExperimentConfig, folder: Path) -> Iterator[Change]:
    for address, (was, now) in changed_plugins(folder).items():
        yield Change(f"plugin {address}", was, now, Input.plugins)
    tokenizer = stored_tokenizer(folder)
    was = tokenizer_digest(tokenizer)
    if (now := tokenizer_digest(_configured_tokenizer(config, tokenizer))) != was:
        yield Change(f"tokenizer or chat template ({_source(config.tokenizer)})", was, now)
    with suppress(DataError):  # files that are gone: reported when they are read
        was = _stored(folder / CARD, "digest")
        if (now := data_digest(config, tokenizer)) != was:
            what = f"data ({', '.join(_sources(config))}, or the code that reads it)"
            yield Change(what, was, now, Input.data)
    before = _stored(folder / PARENTS)
    for key, model in parents(config).items():
        if (now := model.identity) != (was := before.get(key)):
            yield Change(f"{key}={model.folder}", was, now, Input.parents)


def _source(config: PluginConfig) -> str:
    return asdict(config).get("path", plugin_of(config).address)


def _sources(config: ExperimentConfig) -> Iterator[str]:
    """Yields what the samples are read from: a path or a plugin, and the data of earlier runs."""
    yield _source(config.data)
    for path, node in nodes(config):
        yield from (f"{path}.{knob}={run}" for knob, run in node.rereads.items() if run)


def _configured_tokenizer(config: ExperimentConfig, stored: Tokenizer) -> Tokenizer:
    """Returns the tokenizer of a new run; a trained or missing one is taken from the run."""
    if config.init_from is None and plugin_of(config.tokenizer).declaration.loads:
        with suppress(CheckpointError):
            stored = build(config.tokenizer).build(lambda: iter(()))
    return complete_tokenizer(stored, config)


def refuse_changes(changes: Sequence[Change], accepted: Sequence[Input], folder: Path) -> None:
    """Raises CheckpointError unless every changed input is accepted."""
    refused = [one for one in changes if one.input not in accepted]
    if not refused:
        return
    names = dict.fromkeys(one.input.value for one in changes if one.input is not None)
    lines = [f"{folder} cannot resume: its inputs have changed since it was started."]
    lines += map(str, refused[:SHOWN])
    lines.append("Nothing was changed. Restore them, or start a new run in another folder.")
    if all(one.input for one in refused):
        lines.append(
            "To continue with the changed ones, and to record it, add "
            f"trainer.accept_changes=[{','.join(names)}]."
        )
    else:
        lines.append(f"A run keeps its tokenizer and chat template, in {folder / TOKENIZER}.")
    raise CheckpointError("\n  ".join(lines))


def record_changes(changes: Sequence[Change], step: int, folder: Path) -> None:
    """Appends changes to the record of the run, and prints those of inputs."""
    file = folder / CHANGES
    before = read_sealed(file) if file.exists() else ""
    for one in changes:
        line = {"step": step, "what": one.what, "was": one.was, "now": one.now}
        before += json.dumps(line, ensure_ascii=False) + "\n"
        if one.input is not None:
            print(f"accepted from step {step}: {one}")
    write_sealed(file, before)


def read_changes(folder: Path) -> list[dict[str, Any]]:
    """Returns the recorded changes of a run."""
    file = folder / CHANGES
    text = read_sealed(file) if file.exists() else ""
    with reading(file):
        return [json.loads(line) for line in text.split("\n")[:-1]]


def _stored(card: Path, *keys: str) -> Any:  # a value in a record that this module wrote
    content = read_sealed_json(card)
    with reading(card):
        return reduce(getitem, keys, content)
