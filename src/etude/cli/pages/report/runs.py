"""Reads the local records of runs in any state: finished, running, failed or damaged.

This module does not write to run folders, and does not trust or import their content. A line or
file that cannot be read is listed in the run's damages, and the rest is shown.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, cast

from etude.config.yaml_file import read_yaml
from etude.errors import CheckpointError, ConfigError
from etude.experiments.job import State as JobState
from etude.files.run_folder import CARD, CONFIG, HARDWARE, LOCK, PARENTS, STEPS, SUMMARY
from etude.files.seal import SEAL, sealed_fault, sealed_files
from etude.files.sweep_folder import JOBS, PRUNED

Row: TypeAlias = dict[str, Any]  # what JSON holds
PERF = "perf.jsonl"
SAMPLES = "samples.jsonl"
"""File that callbacks write in a run folder."""
RECORDS = (STEPS, CONFIG, SUMMARY)
"""A folder with any of these files is a run."""
LARGEST = sys.float_info.max
DEPTH = 4
"""Maximum depth of subfolders that are searched for runs."""


class RunState(Enum):
    """State of a run."""

    finished = "finished"
    early = "stopped early"
    pruned = "pruned"
    running = "running"
    ended = "ended unfinished"


@dataclass(frozen=True)
class Run:
    """The records of one run folder."""

    name: str
    folder: Path
    state: RunState
    steps: Sequence[Row]
    perf: Sequence[Row]
    config: Mapping[str, Any]
    """Each value by its full key, each choice of a plugin by its group; without seed and run."""
    seed: Any
    samples: Sequence[Row]
    """The network's outputs for held-out records: `step` and `texts`."""
    facts: Mapping[str, Row]
    """Other records by file name."""
    damages: Sequence[str]

    @property
    def parameters(self) -> float | None:
        """Number of parameters of the network, if it was recorded."""
        return number(self.facts[SUMMARY].get("parameters"))

    def last(self, metric: str) -> float | None:
        """Returns the last value of a metric."""
        return next((row[metric] for row in reversed(self.steps) if metric in row), None)


@dataclass
class FoundRuns:
    """The runs that were found, and the problems."""

    runs: list[Run] = field(default_factory=list[Run])
    problems: list[str] = field(default_factory=list[str])


def find(places: Sequence[str]) -> FoundRuns:
    """Returns each run in the folders or their subfolders once, by its shortest unique name."""
    found = FoundRuns()
    folders = dict[Path, None]()
    for place in places:
        folder = Path(place)
        below = list(_below(folder, DEPTH)) if folder.is_dir() else []
        if not below:
            wrong = "contains no run" if folder.is_dir() else "is not a folder"
            found.problems.append(f"{place} {wrong}: a run folder has {', '.join(RECORDS)}")
        folders.update(dict.fromkeys(path.resolve() for path in below))
    for folder, name in zip(folders, names(list(folders)), strict=True):
        try:
            run = read(folder, name)
        except OSError as error:
            found.problems.append(f"{folder} cannot be read: {error.strerror}")
            continue
        found.runs.append(run)
        found.problems += [f"{name}: {damage}" for damage in run.damages]
    for folder in dict.fromkeys(Path(place) for place in places):
        found.problems += _failed_jobs(folder)
    return found


def names(folders: Sequence[Path]) -> list[str]:
    """Returns the fewest trailing parts of each path that make all names unique."""
    depth = 1
    longest = max((len(folder.parts) for folder in folders), default=1)
    while depth < longest and len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return ["/".join(folder.parts[-depth:]) for folder in folders]


def read(folder: Path, name: str) -> Run:
    """Returns the records of one run. Raises OSError if the folder itself cannot be read."""
    damages = _changed_files(folder)
    facts = {file: _json(folder / file, damages) for file in (SUMMARY, CARD, HARDWARE, PARENTS)}
    config, seed = _config(folder / CONFIG, damages)
    steps = [_numbers(row) for row in _lines(folder / STEPS, damages)]
    samples = _lines(folder / SAMPLES, damages) or _last_samples(folder, steps, damages)
    return Run(
        name=name,
        folder=folder,
        state=_state(folder, facts[SUMMARY]),
        steps=_with_total_seconds(steps),
        perf=[_numbers(row) for row in _lines(folder / PERF, damages)],
        config=config,
        seed=seed,
        samples=[row for row in samples if isinstance(row.get("texts"), list)],
        facts=facts,
        damages=damages,
    )


def number(value: Any) -> float | None:  # what JSON holds
    """Returns the value if it is a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST and value == value else None


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # what YAML holds
    """Yields every leaf of a tree with its dotted key; a list is a leaf, an empty dict has none."""
    if isinstance(value, dict):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        if any((folder / record).is_file() for record in RECORDS):
            yield folder
        elif depth:
            inside = (path for path in folder.iterdir() if path.is_dir())
            for path in sorted(inside, key=_natural):
                if not path.name.startswith("."):
                    yield from _below(path, depth - 1)
    except PermissionError:
        return


def _failed_jobs(folder: Path) -> Iterator[str]:
    """Yields the failed jobs of the sweeps in a folder, which may have no run folder."""
    for sweep in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
        for file in sorted((sweep / JOBS).glob("*.json"), key=_natural):
            job = _json(file, [])
            if job.get("state") == JobState.failed:
                why = str(job.get("error") or "").partition("\n")[0]
                yield f"{sweep / file.stem} failed with exit code {job.get('exit_code')}: {why}"


def _natural(path: Path) -> tuple[int, str]:
    """Sort key that orders the jobs of a sweep by number."""
    return (int(path.stem) if path.stem.isdecimal() else -1, path.name)


def _lines(file: Path, damages: list[str]) -> list[Row]:
    """Returns the rows of a JSON Lines file; ignores an incomplete last line being written."""
    text = _text(file, damages)
    found: list[Row] = []
    wrong: list[int] = []
    whole = text.splitlines(keepends=True)
    for at, line in enumerate(whole, start=1):
        row = _parse(line)
        if row is not None:
            found.append(row)
        elif line.strip() and (at < len(whole) or line.endswith("\n")):
            wrong.append(at)
    if wrong:
        damages.append(f"{file.name}: {len(wrong)} lines skipped, the first is line {wrong[0]}")
    return found


def _changed_files(folder: Path) -> list[str]:
    """Returns the records that are not what the run wrote, if it sealed them."""
    if not (folder / SEAL).exists():
        return []
    try:
        faults = {file.name: sealed_fault(file) for file in sealed_files(folder)}
    except CheckpointError:
        return [f"{SEAL} is damaged"]
    return [f"{name} {fault}" for name, fault in faults.items() if fault is not None]


def _json(file: Path, damages: list[str]) -> Row:
    text = _text(file, damages)
    row = _parse(text)
    if row is None and text:
        damages.append(f"{file.name} is damaged")
    return row or {}


def _parse(text: str) -> Row | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Row", row) if isinstance(row, dict) else None


def _text(file: Path, damages: list[str]) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        damages.append(f"{file.name} cannot be read: {error.strerror}")
        return ""


def _numbers(row: Row) -> Row:
    return {key: value for key in row if (value := number(row[key])) is not None}


def _with_total_seconds(rows: list[Row]) -> list[Row]:
    """Returns the rows with a `step`, with `seconds` accumulated over resumes, which reset it."""
    before = 0.0
    last = 0.0
    found: list[Row] = []
    for row in rows:
        if "step" not in row:
            continue
        if "seconds" in row:
            before += last if row["seconds"] < last else 0.0
            last = row["seconds"]
            row = {**row, "seconds": before + last}
        found.append(row)
    return found


def _config(file: Path, damages: list[str]) -> tuple[Row, Any]:
    """Returns the values of a config, and its seed."""
    try:
        stored = read_yaml(file)
        plugins = stored["plugins"]
        values = stored["values"]
        chosen = {path: str(entry["address"]).rpartition("/")[2] for path, entry in plugins.items()}
        found = json.loads(json.dumps({**chosen, **dict(flat(values))}, default=str))
    except FileNotFoundError:
        damages.append(f"{CONFIG} is missing")
        return {}, None
    except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError):
        damages.append(f"{CONFIG} is damaged")
        return {}, None
    found.pop("run", None)
    return found, found.pop("seed", None)


def _last_samples(folder: Path, steps: Sequence[Row], damages: list[str]) -> list[Row]:
    """Returns the samples of a finished run if no callback recorded any."""
    text = _text(folder / "samples.txt", damages)
    step = steps[-1].get("step", 0) if steps else 0
    return [{"step": step, "texts": [text]}] if text.strip() else []


def _state(folder: Path, summary: Row) -> RunState:
    if (folder / PRUNED).exists():
        return RunState.pruned
    if summary:
        return RunState.early if summary.get("stopped_early") else RunState.finished
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return RunState.ended
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return RunState.running
    finally:
        os.close(lock)
    return RunState.ended
