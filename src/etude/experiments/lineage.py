"""Everything a run depends on: runs, models, data sets and files, and whether each has changed.

A run stores digests: `parents.json` those of its parent runs, `data_card.json` that of its data.
Files written by `etude label`, `best-of` and `dialogue` have an origin file next to them. This
module compares these digests with the current files.
"""

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from etude.config import config_file
from etude.data.corpus import data_digest
from etude.data.data_card import tokenizer_digest
from etude.data.file_search import find_files
from etude.errors import CheckpointError, DataError, EtudeError
from etude.experiments.provenance import NAMES_A_RUN, origin_of, references
from etude.files.atomic import sha256
from etude.files.json_file import read_json
from etude.files.manifest import fault_of
from etude.files.run_folder import ADAPTER, CARD, CONFIG, MODEL, PARENTS, TOKENIZER
from etude.files.seal import sealed_fault, sealed_files
from etude.formats.model import read_model, tokenizer_of_run

Table: TypeAlias = dict[str, Any]  # of values of any type


class ArtefactState(Enum):
    """Whether a dependency is unchanged since it was used."""

    same = "unchanged"
    changed = "CHANGED"
    damaged = "DAMAGED"
    missing = "MISSING"
    unknown = "unknown"


FAULTS = (ArtefactState.changed, ArtefactState.damaged, ArtefactState.missing)


@dataclass(frozen=True)
class Artefact:
    """A dependency of a run, with its own dependencies."""

    key: str
    """Config key that names it in the dependent run."""
    place: str
    state: ArtefactState = ArtefactState.same
    digest: str = ""
    """Current digest; the stored one if it is missing."""
    note: str = ""
    parents: tuple["Artefact", ...] = ()

    def walk(self) -> Iterator["Artefact"]:
        """Yields itself and all its dependencies, recursively."""
        yield self
        for parent in self.parents:
            yield from parent.walk()


def lineage(folder: Path, key: str = "run", was: str | None = None) -> Artefact:
    """Returns the dependency tree of a run folder or a Hugging Face folder."""
    return _model(folder, key, was, frozenset())


def _model(folder: Path, key: str, was: str | None, above: frozenset[Path]) -> Artefact:
    """Returns the tree of a run or model; `was` is the digest that its dependent stored."""
    place = str(folder)
    if not folder.is_dir():
        return Artefact(key, place, ArtefactState.missing, was or "")
    if folder.resolve() in above:
        return Artefact(key, place, ArtefactState.unknown, note="it depends on itself")
    state, digest, note = _weights_state(folder, was)
    if was is None and above and state is ArtefactState.same:
        state = ArtefactState.unknown
        note = "its digest at that time was not stored"
    parents = tuple(_parents(folder, above | {folder.resolve()}))
    return Artefact(key, place, state, digest, note, parents)


def _weights_state(folder: Path, was: str | None) -> tuple[ArtefactState, str, str]:
    """Returns the state of a model's weights, their digest, and the reason if they differ."""
    try:
        digest = _digest(folder)
        for file in sealed_files(folder) if (folder / CONFIG).exists() else ():
            if fault := sealed_fault(file):
                return ArtefactState.damaged, digest, f"{file.name} {fault}"
    except CheckpointError as error:
        return ArtefactState.damaged, was or "", _first_line(error)
    except EtudeError as error:  # such as a missing plugin
        return ArtefactState.unknown, was or "", _first_line(error)
    for name in (MODEL, ADAPTER):
        if (folder / name).is_dir():
            if fault := fault_of(folder / name):
                return ArtefactState.damaged, digest, f"{name}: {fault}"
            was = was or digest  # the digest in its manifest
    return _state_of(digest, was), digest, ""


def _parents(folder: Path, above: frozenset[Path]) -> Iterator[Artefact]:
    if not _stored_values(folder):
        return
    paths, home = places_of(folder)
    stored_digests = _json(folder / PARENTS)
    for key, place in paths.items():
        if NAMES_A_RUN.search(key):
            yield _model(home / place, key, stored_digests.get(key), above)
    yield from _plugins(folder)
    yield _tokenizer(folder)
    yield _data(folder, home, paths.get("data.path"), above)


def places_of(folder: Path) -> tuple[dict[str, str], Path]:
    """Returns the paths in a run's config, by full keys, and the folder it was started from.

    This is the folder relative to which most paths exist: the current one, or one above the run.
    """
    paths = dict(references(_stored_values(folder)))
    paths.pop("run", None)

    def n_existing(home: Path) -> int:
        return sum((home / place).exists() for place in paths.values())

    return paths, max((Path.cwd(), *folder.absolute().parents), key=n_existing)


def _plugins(folder: Path) -> Iterator[Artefact]:
    """Yields the plugins whose files have changed since the run was made."""
    for address, (was, now) in config_file.changed_plugins(folder).items():
        state = ArtefactState.missing if now is None else ArtefactState.changed
        yield Artefact("plugin", address, state, now or was)


def _tokenizer(folder: Path) -> Artefact:
    """Returns the tokenizer in the run folder."""
    place = folder / TOKENIZER
    try:
        tokenizer = tokenizer_of_run(folder)
    except EtudeError as error:
        return Artefact("tokenizer", str(place), ArtefactState.missing, note=str(error))
    was = _json(folder / CARD).get("tokenizer", {}).get("digest")
    digest = tokenizer_digest(tokenizer)
    return Artefact("tokenizer", str(place), _state_of(digest, was), digest)


def _data(folder: Path, home: Path, path: str | None, above: frozenset[Path]) -> Artefact:
    """Returns the samples and, if they come from files, the files' origins."""
    was = _json(folder / CARD)
    place = str(was.get("source", "data")).partition("/")[2]
    parents = () if path is None else (_file(home / path, above),)
    try:
        with silenced_warnings(), chdir(home):
            config = config_file.load_config(folder.absolute())
            digest = data_digest(config, tokenizer_of_run(folder.absolute()))
    except EtudeError as error:
        state = (
            ArtefactState.missing
            if any(p.state is ArtefactState.missing for p in parents)
            else ArtefactState.unknown
        )
        note = _first_line(error)
        return Artefact("data", place, state, was.get("digest", ""), note, parents)
    state = _state_of(digest, was.get("digest"))
    if state is ArtefactState.same:  # the data digest includes its files
        parents = tuple(
            replace(one, state=state) if one.state is ArtefactState.unknown else one
            for one in parents
        )
    note = (
        "its files, its settings or the code that reads it"
        if state is ArtefactState.changed
        else ""
    )
    return Artefact("data", place, state, digest, note, parents)


def _file(place: Path, above: frozenset[Path]) -> Artefact:
    """Returns a data file and the runs that wrote it."""
    if not place.is_file():
        try:
            find_files(str(place), ("",))
        except DataError:
            return Artefact("data.path", str(place), ArtefactState.missing)
        return Artefact("data.path", str(place), ArtefactState.unknown)
    digest = sha256(place)
    origin = origin_of(place)
    if origin is None:
        return Artefact("data.path", str(place), ArtefactState.unknown, digest)
    runs = tuple(_model(Path(run), key, was, above) for key, (run, was) in origin.parents.items())
    note = f"written by etude {origin.verb}"
    return Artefact("data.path", str(place), _state_of(digest, origin.digest), digest, note, runs)


def children(folder: Path, place: Path) -> list[Artefact]:
    """Returns the runs in a folder that depend on a run, each with its own dependent runs."""
    found = sorted(file.parent for file in place.rglob(CONFIG))
    return _children(folder, found, frozenset())


def _children(folder: Path, runs: Sequence[Path], above: frozenset[Path]) -> list[Artefact]:
    resolved = folder.resolve()
    if resolved in above:
        return []
    dependents: list[Artefact] = []
    digest = _digest(folder)
    for run in runs:
        for key, place, was in _referenced_runs(run):
            if place.resolve() == resolved:
                below = tuple(_children(run, runs, above | {resolved}))
                state = _state_of(digest, was)
                note = (
                    ""
                    if state is ArtefactState.same
                    else f"made with other weights of {folder.name}"
                )
                dependents.append(Artefact(key, str(run), state, _digest(run), note, below))
    return dependents


def _referenced_runs(run: Path) -> Iterator[tuple[str, Path, str | None]]:
    """Yields the runs referenced by a run or by the origin of its data: key, folder, digest."""
    paths, home = places_of(run)
    stored_digests = _json(run / PARENTS)
    for key, place in paths.items():
        if NAMES_A_RUN.search(key):
            yield key, home / place, stored_digests.get(key)
        elif origin := origin_of(home / place):
            yield from (
                (f"{key}: {name}", Path(at), was) for name, (at, was) in origin.parents.items()
            )


def _stored_values(folder: Path) -> Table:
    """Returns a run's config as stored, without needing its plugins; empty if there is none."""
    with suppress(CheckpointError):  # reported by its state
        return config_file.read_stored(folder)[1]
    return {}


def _digest(folder: Path) -> str:
    """Returns the current digest of a model."""
    with silenced_warnings():
        return read_model(folder).identity


def _first_line(error: EtudeError) -> str:
    return str(error).partition("\n")[0]


def _state_of(now: str, was: str | None) -> ArtefactState:
    if was is None:
        return ArtefactState.unknown
    return ArtefactState.same if now == was else ArtefactState.changed


def _json(file: Path) -> Table:
    """Returns a JSON record; empty if there is none, or it is damaged, which the state reports."""
    with suppress(CheckpointError):
        return read_json(file)
    return {}


@contextmanager
def silenced_warnings() -> Generator[None]:
    """Silences warnings on loading, such as a changed plugin: the tree reports them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
