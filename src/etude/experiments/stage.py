"""What a finished stage of a pipeline was: its command, inputs, code and result, by digest.

A stage is skipped as long as all of them are what they were; a stage that is run again and gives
the same result, bit for bit, lets those that stand on it be.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from etude.config.plugin_files import find, source_digest, source_files
from etude.errors import ConfigError
from etude.experiments.provenance import NAMES_A_RUN, NAMES_FILES, SUFFIX
from etude.files.atomic import sha256, write_whole
from etude.files.run_folder import CONFIG

STAMP = "stage.json"
"""What a finished stage was."""
ROWS = "rows.jsonl"
"""What a stage writes that makes data."""
SEALS = ("model/manifest.json", "adapter/manifest.json", ROWS)
"""The result of a stage: the first of these that is there."""
CORE = Path(__file__).resolve().parents[1]
ENTRIES = {"train": "training.run"}
"""The module with which the core begins to work for a verb, once nothing is refused any more."""
MAKES_DATA = "experiments.curation"
Digests: TypeAlias = dict[str, str]
Stamp: TypeAlias = dict[str, Any]  # as JSON has it


@dataclass(frozen=True)
class Stage:
    """A stage, ready to be called."""

    name: str
    folder: Path
    command: list[str]
    parents: list[str]

    @property
    def stamp(self) -> Path:
        """Where it says what it was."""
        return self.folder / STAMP

    @property
    def result(self) -> str | None:
        """The digest of what it gave; None if that is not there."""
        return _result(self.folder)


def reasons(stage: Stage, stages: Sequence[Stage]) -> list[str] | None:
    """Why a stage that was finished is to be run again; None if it never was."""
    if not stage.stamp.exists():
        return None
    was: Stamp = json.loads(stage.stamp.read_text(encoding="utf-8"))
    return list(_reasons(was, stage, stages))


def seal(stage: Stage, stages: Sequence[Stage], core: Digests) -> None:
    """Stamps a stage that has just been finished; `core` is what the core was when it began."""
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
    write_whole(stage.stamp, json.dumps(stamp, indent=2) + "\n")


def core_digests() -> Digests:
    """Every module of the core by name; comments and docstrings do not count."""
    return {_name(file): _meaning(file) for file in sorted(CORE.rglob("*.py"))}


def _reasons(was: Stamp, stage: Stage, stages: Sequence[Stage]) -> Iterator[str]:
    if "result" not in was:
        yield "it was finished before stages kept their results"
        return
    before = was["command"]
    now = stage.command
    if before != now:
        gone = " ".join(item for item in before if item not in now)
        new = " ".join(item for item in now if item not in before)
        yield f"its command was {gone or 'without it'}, is {new or 'without it'}"
    for name, digest in _parents(stage, stages).items():
        if was["parents"].get(name) != digest:
            yield f"{name}, on which it stands, gives another result"
    yield from _changed("", was["inputs"], _inputs(stage), "other content")
    now_there = {address: _file_digest(address) for address in was["plugins"]}
    yield from _changed("the plugin ", was["plugins"], now_there, "other code")
    core = core_digests()
    there = {name: core.get(name, "") for name in was["core"]}
    yield from _changed("etude.", was["core"], there, "other code")
    if was["result"] != stage.result:
        yield "its result is gone, or is not what it gave"


def _changed(kind: str, was: Mapping[str, str], now: Mapping[str, str], said: str) -> Iterator[str]:
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{kind}{name} has {said}"


def _parents(stage: Stage, stages: Sequence[Stage]) -> dict[str, str | None]:
    return {one.name: one.result for one in stages if one.name in stage.parents}


def _inputs(stage: Stage) -> Digests:
    """The files and runs that its command names, other than what earlier stages wrote."""
    found: Digests = {}
    for argument in stage.command[:-1]:  # the last says where its own result goes
        key, _, value = argument.partition("=")
        place = Path(value).expanduser()
        if place.is_relative_to(stage.folder.parent):
            continue
        if NAMES_FILES.search(key):
            files = [place] if place.is_file() else sorted(place.rglob("*"))
            found[value] = _digest_of(filter(Path.is_file, files))
        elif NAMES_A_RUN.search(key):
            found[value] = _result(place) or _digest_of(sorted(place.glob("*.safetensors")))
    return found


def _digest_of(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def _result(folder: Path) -> str | None:
    seals = (folder / seal for seal in SEALS)
    return next((sha256(seal) for seal in seals if seal.exists()), None)


def _plugins(folder: Path) -> Digests:
    """The plugins that a stage was made of, as its run or its rows remember them."""
    run = folder / CONFIG
    origin = folder / (ROWS + SUFFIX)
    if run.exists():
        nodes = yaml.safe_load(run.read_text(encoding="utf-8"))["plugins"].values()
        return {one["address"]: one["sha256"] for one in nodes}
    return json.loads(origin.read_text(encoding="utf-8"))["plugins"] if origin.exists() else {}


def _file_digest(address: str) -> str:
    try:
        return source_digest(find(address))
    except ConfigError:  # it is gone, which is a change
        return ""


def _closure(verb: str, plugins: Sequence[str]) -> set[str]:
    """The modules of the core that a verb and some plugins import, and those import in turn."""
    entry = _file(ENTRIES.get(verb, MAKES_DATA))
    assert entry is not None
    files = [entry, *(file for address in plugins for file in source_files(find(address)))]
    found = {_name(entry)}
    while files:
        for module in _imported(files.pop()):
            if _name(module) not in found:
                found.add(_name(module))
                files.append(module)
    return found


def _imported(file: Path) -> Iterator[Path]:
    """The modules of the core that a file imports, wherever in it; what a face names, from there.

    A face is no part of them: it only names what others may import.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "etude":
            for alias in node.names:
                module = _home(str(node.module).removeprefix("etude").lstrip("."), alias.name)
                if module is not None:
                    yield module


def _home(module: str, name: str) -> Path | None:
    """The file that `from etude.<module> import <name>` takes the name from."""
    inside = _file(f"{module}.{name}".lstrip("."))
    file = _file(module)
    if inside is not None or file is None or file.name != "__init__.py":
        return inside or file
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return _home(str(node.module).removeprefix("etude").lstrip("."), name)
    return None


def _file(module: str) -> Path | None:
    """The file of a module of the core, such as `training.run`."""
    place = CORE.joinpath(*filter(None, module.split(".")))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _name(file: Path) -> str:
    """The name of a module of the core below `etude`."""
    return ".".join(file.relative_to(CORE).with_suffix("").parts).removesuffix(".__init__")


def _meaning(file: Path) -> str:
    """A digest of what a file does."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_said(one)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_said(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
