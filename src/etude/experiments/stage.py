"""Records the command, inputs, code and result of a finished pipeline stage, by digest.

A stage is skipped while all of them are unchanged. If a stage runs again and its result is
bit-identical, the stages that depend on it stay valid.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from etude.config import config_file
from etude.config.plugin_files import find, source_digest, source_files
from etude.data.file_search import find_files
from etude.errors import ConfigError, DataError
from etude.experiments.provenance import NAMES_A_RUN, NAMES_FILES, SUFFIX
from etude.files.atomic import sha256, write_atomic
from etude.files.json_file import read_json, reading
from etude.files.run_folder import CONFIG, TOKENIZER

STAMP = "stage.json"
"""File with the record of a finished stage."""
ROWS = "rows.jsonl"
"""Output file of a stage that generates data."""
RESULTS = ("model/manifest.json", "adapter/manifest.json", ROWS)
"""The result of a stage is the first of these that exists."""
CORE = Path(__file__).resolve().parents[1]
ENTRIES = {"train": "training.run"}
"""Module that a verb imports lazily to do its work, by verb."""
MAKES_DATA = "experiments.curation"
Digests: TypeAlias = dict[str, str]
Stamp: TypeAlias = dict[str, Any]  # as JSON has it


@dataclass(frozen=True)
class Stage:
    """A stage with its complete command."""

    name: str
    folder: Path
    command: list[str]
    parents: list[str]

    @property
    def stamp(self) -> Path:
        """Path of the stage's record."""
        return self.folder / STAMP

    @property
    def result(self) -> str | None:
        """Digest of its result; None if there is none."""
        return _result(self.folder)


def reasons(stage: Stage, stages: Sequence[Stage]) -> list[str] | None:
    """Returns the reasons for rerunning a finished stage; None if it has never finished."""
    if not stage.stamp.exists():
        return None
    with reading(stage.stamp):
        return list(_reasons(read_json(stage.stamp), stage, stages))


def write_stamp(stage: Stage, stages: Sequence[Stage], core: Digests) -> None:
    """Writes the record of a stage that has just finished; `core` is the core when it started."""
    plugins = _plugins(stage.folder)
    needed = _closure(stage.command[0], list(plugins))
    stamp = {
        "command": stage.command,
        "parents": _parents(stage, stages),
        "inputs": _inputs(stage),
        "plugins": plugins,
        "core": {name: core[name] for name in sorted(needed & core.keys())},
        "result": stage.result,
    }
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(stage.stamp, json.dumps(stamp, indent=2) + "\n")


def core_digests() -> Digests:
    """Returns the digest of every core module by name, without comments and docstrings."""
    return {_name(file): _code_digest(file) for file in sorted(CORE.rglob("*.py"))}


def _reasons(was: Stamp, stage: Stage, stages: Sequence[Stage]) -> Iterator[str]:
    if "result" not in was:
        yield "it finished before stages stored their results"
        return
    before = was["command"]
    now = stage.command
    if before != now:
        removed = " ".join(item for item in before if item not in now)
        added = " ".join(item for item in now if item not in before)
        yield f"its command was {removed or 'without it'}, is {added or 'without it'}"
    for name, digest in _parents(stage, stages).items():
        if was["parents"].get(name) != digest:
            yield f"the result of {name}, on which it depends, has changed"
    yield from _changes("", was["inputs"], _inputs(stage), "different content")
    current = {address: _file_digest(address) for address in was["plugins"]}
    yield from _changes("the plugin ", was["plugins"], current, "different code")
    core = core_digests()
    current_core = {name: core.get(name, "") for name in was["core"]}
    yield from _changes("etude.", was["core"], current_core, "different code")
    if was["result"] != stage.result:
        yield "its result is missing or has changed"


def _changes(kind: str, was: Digests, now: Digests, change: str) -> Iterator[str]:
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{kind}{name} has {change}"


def _parents(stage: Stage, stages: Sequence[Stage]) -> dict[str, str | None]:
    return {one.name: one.result for one in stages if one.name in stage.parents}


def _inputs(stage: Stage) -> Digests:
    """Returns the files and runs that its command names, except results of earlier stages."""
    found: Digests = {}
    for argument in stage.command[:-1]:  # the last is its output path
        key, _, value = argument.partition("=")
        place = Path(value).expanduser()
        if place.is_relative_to(stage.folder.parent):
            continue
        if NAMES_FILES.search(key):
            found[value] = _digest_of(_files(key, place))
        elif NAMES_A_RUN.search(key):
            found[value] = _digest_of(_model_files(place))
    return found


def _model_files(place: Path) -> list[Path]:
    """Returns the files of a model: the manifest of a run and its tokenizer, or a folder's own."""
    manifest = [place / name for name in RESULTS if (place / name).is_file()]
    files = [*manifest[:1], *place.glob(f"{TOKENIZER}/*")] if manifest else place.glob("*")
    return sorted(file for file in files if file.is_file())


def _files(key: str, place: Path) -> Sequence[Path]:
    """Returns the files that a key names; of data, those that its reader may find."""
    if key.endswith("data.path"):
        try:
            return find_files(str(place), ("",)).paths
        except DataError:  # the stage itself reports it
            return ()
    return [file for file in (place, *sorted(place.rglob("*"))) if file.is_file()]


def _digest_of(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def _result(folder: Path) -> str | None:
    files = (folder / name for name in RESULTS)
    return next((sha256(file) for file in files if file.exists()), None)


def _plugins(folder: Path) -> Digests:
    """Returns the plugins of a stage, as recorded in its run or its rows' origin."""
    origin = folder / (ROWS + SUFFIX)
    if (folder / CONFIG).exists():
        plugins = config_file.read_stored(folder)[0].values()
        return {one["address"]: one["sha256"] for one in plugins}
    with reading(origin):
        return read_json(origin)["plugins"] if origin.exists() else {}


def _file_digest(address: str) -> str:
    try:
        return source_digest(find(address))
    except ConfigError:  # missing, which counts as a change
        return ""


def _closure(verb: str, plugins: Sequence[str]) -> set[str]:
    """Returns the core modules that a verb and some plugins import, directly or indirectly."""
    entry = _file(ENTRIES.get(verb, MAKES_DATA))
    assert entry is not None
    files = [entry, *(file for address in plugins for file in source_files(find(address)))]
    found = {_name(entry)}
    while files:
        for module in _imported_modules(files.pop()):
            if _name(module) not in found:
                found.add(_name(module))
                files.append(module)
    return found


def _imported_modules(file: Path) -> Iterator[Path]:
    """Yields the core modules that a file imports, at any level of nesting.

    Names imported from a package's `__init__.py` count as imports from the file that defines them.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "etude":
            for alias in node.names:
                parent = str(node.module).removeprefix("etude").lstrip(".")
                module = _defining_file(parent, alias.name)
                if module is not None:
                    yield module


def _defining_file(module: str, name: str) -> Path | None:
    """Returns the file that defines the name in `from etude.<module> import <name>`."""
    inside = _file(f"{module}.{name}".lstrip("."))
    file = _file(module)
    if inside is not None or file is None or file.name != "__init__.py":
        return inside or file
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return _defining_file(str(node.module).removeprefix("etude").lstrip("."), name)
    return None


def _file(module: str) -> Path | None:
    """Returns the file of a core module, such as `training.run`."""
    place = CORE.joinpath(*filter(None, module.split(".")))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _name(file: Path) -> str:
    """Returns the name of a core module, relative to `etude`."""
    return ".".join(file.relative_to(CORE).with_suffix("").parts).removesuffix(".__init__")


def _code_digest(file: Path) -> str:
    """Returns a digest of a file's code, without comments and docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_docstring(one)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
