"""What a plugin says of itself, read from the syntax tree of its file: nothing is imported.

So listings, help pages and the first check of a command line need neither torch nor whatever
else a plugin imports, and a broken plugin can still be named.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from etude.config.plugin_files import configurations, find, options
from etude.errors import ConfigError

SOURCE = Path(__file__).resolve().parents[1]
LITERAL = ("lr", "data", "reward", "max_devices")
Declared: TypeAlias = str | float | frozenset[str] | None


@dataclass(frozen=True)
class Knob:
    """One field of a plugin's config, as its file writes it."""

    name: str
    type: str
    default: str | None
    """The expression of the default, or None where a value must be given."""
    help: str
    home: Path
    """The file that it stands in, where the names of its type and default have their meaning."""
    group: bool = False
    """Whether it holds the config of another plugin."""
    option: str | None = None
    """The option of that other group when none is chosen."""
    only_with: str | None = None
    """The condition under which it has effect; None = always."""


@dataclass(frozen=True)
class Description:
    """A plugin file, read but not run."""

    address: str
    file: Path
    doc: str
    """The docstring of the module: what it is, and the source."""
    knobs: tuple[Knob, ...]
    declared: Mapping[str, Declared]
    """The keywords of `@plugin`; sets hold the bare names of their members."""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    def names(self, keyword: str) -> frozenset[str]:
        """What `reads`, `yields`, `needs` or `provides` holds, by name; empty if not declared."""
        found = self.declared.get(keyword)
        return found if isinstance(found, frozenset) else frozenset({str(found)} if found else ())


def describe(address: str) -> Description:
    """Reads the plugin at `address`. Raises ConfigError when no file there holds a plugin."""
    file = find(address)
    tree = tree_of(file)
    call = _registration(tree)
    if call is None or not call.args or not isinstance(call.args[0], ast.Name):
        raise ConfigError(
            f"{file} holds no plugin.\n"
            "  Put @plugin(Config) over the class or factory that takes Config first."
        )
    return Description(
        address,
        file,
        ast.get_docstring(tree) or "",
        tuple(knobs(call.args[0].id, file)),
        {word.arg: _declared(word, file) for word in call.keywords if word.arg},
    )


def described(group: str) -> dict[str, Description]:
    """Each plugin of a group but those that cannot be read, which `etude list` names."""
    found: dict[str, Description] = {}
    for name in options(group):
        with suppress(ConfigError):
            found[name] = describe(f"{group}/{name}")
    return found


def presets(group: str) -> dict[str, Path]:
    """The YAML files `conf/<group>/*.yaml`, by the name that chooses them."""
    return {
        file.stem: file
        for folder in reversed(configurations())
        for file in sorted((folder / group).glob("*.yaml"))
    }


def stands_on(preset: Path) -> str | None:
    """The option of its own group that a preset starts from, if there is one."""
    content: dict[str, Any] | None = yaml.safe_load(preset.read_text(encoding="utf-8"))
    defaults: list[Any] = (content or {}).get("defaults", [])
    return next((item for item in defaults if isinstance(item, str) and item != "_self_"), None)


def bottom(group: str, name: str) -> str:
    """The plugin, by name, that an option of a group is or that a preset comes down to."""
    file = presets(group).get(name)
    below = file and stands_on(file)
    return bottom(group, below) if below else name


def heading(preset: Path) -> str:
    """The first line of the comment a YAML file opens with."""
    for line in preset.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


@lru_cache(maxsize=256)
def _parsed(file: Path, modified: int) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        where = f"{file}:{line}" if line else str(file)
        raise ConfigError(f"{where} is not Python: {error.args[0]}.") from error


def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file. Raises ConfigError, with the line, if it is not Python."""
    return _parsed(file, file.stat().st_mtime_ns)


def _registration(tree: ast.Module) -> ast.Call | None:
    """The call `plugin(Config, ...)` that decorates a class or function of the module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("plugin"):
                    return mark
    return None


def _declared(word: ast.keyword, file: Path) -> Declared:
    if isinstance(word.value, ast.Set | ast.List | ast.Tuple):
        return frozenset(ast.unparse(item).rpartition(".")[2] for item in word.value.elts)
    try:
        return ast.literal_eval(word.value)
    except ValueError as error:
        if word.arg not in LITERAL:
            return ast.unparse(word.value)
        raise ConfigError(
            f"{file}:{word.value.lineno}: {word.arg}={ast.unparse(word.value)} must be a literal: "
            "it is read without running the file."
        ) from error


def knobs(name: str, file: Path) -> Iterator[Knob]:
    """The fields of the config class called `name`, as `file` knows it; inherited ones first."""
    found: dict[str, Knob] = {}
    for kind, home in lineage(name, file):
        for node, after in zip(kind.body, [*kind.body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if "ClassVar" not in ast.unparse(node.annotation):
                key = node.target.id
                text = _docstring(after) or (found[key].help if key in found else "")
                found[key] = _knob(key, node, text, home)
    yield from found.values()


def _knob(name: str, node: ast.AnnAssign, text: str, home: Path) -> Knob:
    kind = ast.unparse(node.annotation)
    default = ast.unparse(node.value) if node.value else None
    group = any(base.name == "PluginConfig" for base, _ in lineage(kind, home))
    option = condition = None
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "only_with":
        condition = str(ast.literal_eval(node.value.args[0]))
        default = ast.unparse(node.value.args[1])
    elif isinstance(node.value, ast.Call) and ast.unparse(node.value.func).endswith("option"):
        option = default = str(ast.literal_eval(node.value.args[0]))
    elif default and (made := re.fullmatch(r"field\(default_factory=(?:lambda: )?(.*)\)", default)):
        default = "[]" if made[1].startswith("list") else made[1]
    shown = None if default == "MISSING" else default
    return Knob(name, kind, shown, text, home, group, option, condition)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def lineage(name: str, file: Path) -> Iterator[tuple[ast.ClassDef, Path]]:
    """The class called `name` after those it derives from; nothing if it is no class of étude's.

    Each with its file. Imports are followed through faces and into private modules.
    """
    for node in tree_of(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                yield from lineage(ast.unparse(base).partition("[")[0], file)
            yield node, file
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                named = alias.name == "*" or name == (alias.asname or alias.name)
                module = imported(node, file) if named else None
                if module is not None:
                    yield from lineage(name if alias.name == "*" else alias.name, module)


def imported(node: ast.ImportFrom, file: Path) -> Path | None:
    """The file of the module that a file imports from, if it is of étude or a private module."""
    root, *inside = (node.module or "").split(".")
    if node.level:
        place = file.parents[node.level - 1].joinpath(*filter(None, [root, *inside]))
    elif root == "etude":
        place = SOURCE.joinpath(*inside)
    else:
        return None
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((found for found in files if found.is_file()), None)
