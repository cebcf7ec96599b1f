"""Reads plugin descriptions from the syntax trees of their files, without importing them.

So listings, help pages and the first check of a command line need neither torch nor the other
imports of a plugin, and a broken plugin can still be listed.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from etude.config.plugin_files import canonical, configurations, find, options
from etude.config.plugin_slips import valid_registration
from etude.config.source_tree import lineage, tree_of
from etude.config.yaml_file import read_yaml
from etude.errors import ConfigError

LITERAL = ("lr", "data", "reward", "max_devices")
Declared: TypeAlias = str | float | frozenset[str] | Mapping[str, str | float] | None


@dataclass(frozen=True)
class Knob:
    """One field of a plugin's config, as written in its file."""

    name: str
    type: str
    default: str | None
    """The source of the default expression; None if a value is required."""
    help: str
    home: Path
    """The file that defines it; the names in its type and default are resolved there."""
    group: bool = False
    """Whether its value is the config of another plugin."""
    several: bool = False
    """Whether its values are the configs of any number of plugins, by name."""
    option: str | None = None
    """The default option of that plugin's group."""
    only_with: str | None = None
    """The condition under which it has an effect; None = always."""
    line: int = 0
    """The line of `home` that defines it."""


@dataclass(frozen=True)
class Description:
    """The description of a plugin, from its source file."""

    address: str
    file: Path
    doc: str
    """The docstring of the module."""
    knobs: tuple[Knob, ...]
    declared: Mapping[str, Declared]
    """The keywords of `@plugin`; sets contain the unqualified names of their members."""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    def names(self, keyword: str) -> frozenset[str]:
        """The names in `reads`, `yields`, `needs` or `provides`; empty if not declared."""
        value = self.declared.get(keyword)
        return value if isinstance(value, frozenset) else frozenset({str(value)} if value else ())


def describe(address: str) -> Description:
    """Reads the plugin at `address`. Raises ConfigError, with the lines, for a slip in its file."""
    file = find(address)
    call = valid_registration(file, address.rpartition("/")[0])
    return Description(
        canonical(address),
        file,
        ast.get_docstring(tree_of(file)) or "",
        tuple(knobs(ast.unparse(call.args[0]), file)),
        {word.arg: _declared_value(word, file) for word in call.keywords if word.arg},
    )


def descriptions(group: str) -> dict[str, Description]:
    """The plugins of a group, except unreadable ones, which `etude list` reports."""
    plugins: dict[str, Description] = {}
    for name in options(group):
        with suppress(ConfigError):
            plugins[name] = describe(f"{group}/{name}")
    return plugins


def presets(group: str) -> dict[str, Path]:
    """The YAML files `conf/<group>/*.yaml`, by option name."""
    return {
        file.stem: file
        for folder in reversed(configurations())
        for file in sorted((folder / group).glob("*.yaml"))
    }


def defaults(file: Path) -> list[Any]:
    """The defaults list of a YAML file, whose items are names or mappings; empty if none."""
    content: dict[str, Any] | None = read_yaml(file)
    return (content or {}).get("defaults", [])


def base_option(preset: Path) -> str | None:
    """The option of the same group that a preset is based on; None if there is none."""
    items = (item for item in defaults(preset) if isinstance(item, str) and item != "_self_")
    return next(items, None)


def preset_parts(group: str, name: str) -> dict[str, str]:
    """The options of parts that a preset chooses itself, by slot; empty for a plugin."""
    file = presets(group).get(name)
    items = defaults(file) if file else []
    slots: list[dict[str, str]] = [item for item in items if isinstance(item, dict)]
    return {key.removeprefix("override "): v for item in slots for key, v in item.items()}


def base_plugin(group: str, name: str) -> str:
    """The name of the plugin that an option is, or that a preset is ultimately based on."""
    file = presets(group).get(name)
    base = file and base_option(file)
    return base_plugin(group, base) if base else name


def heading(preset: Path) -> str:
    """The first line of the header comment of a YAML file."""
    for line in preset.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def _declared_value(word: ast.keyword, file: Path) -> Declared:
    if isinstance(word.value, ast.Set | ast.List | ast.Tuple):
        return frozenset(ast.unparse(item).rpartition(".")[2] for item in word.value.elts)
    try:
        return ast.literal_eval(word.value)
    except ValueError as error:
        if word.arg not in LITERAL:
            return ast.unparse(word.value)
        raise ConfigError(
            f"{file}:{word.value.lineno}: {word.arg}={ast.unparse(word.value)} must be a literal, "
            "because étude reads it without running the file."
        ) from error


def knobs(name: str, file: Path) -> Iterator[Knob]:
    """The fields of the config class `name`, resolved in `file`; inherited ones first."""
    fields: dict[str, Knob] = {}
    for kind, home in lineage(name, file):
        for node, after in zip(kind.body, [*kind.body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if "ClassVar" not in ast.unparse(node.annotation):
                key = node.target.id
                text = _docstring(after) or (fields[key].help if key in fields else "")
                fields[key] = _knob(key, node, text, home)
    yield from fields.values()


def _knob(name: str, node: ast.AnnAssign, text: str, home: Path) -> Knob:
    kind = ast.unparse(node.annotation)
    default = ast.unparse(node.value) if node.value else None
    inner = kind.removeprefix("dict[str, ").removesuffix("]")
    is_plugin = any(base.name == "PluginConfig" for base, _ in lineage(inner, home))
    group, several = is_plugin and inner == kind, is_plugin and inner != kind
    option = condition = None
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "only_with":
        condition = str(ast.literal_eval(node.value.args[0]))
        default = ast.unparse(node.value.args[1])
    elif isinstance(node.value, ast.Call) and ast.unparse(node.value.func).endswith("option"):
        option = default = str(ast.literal_eval(node.value.args[0]))
    elif default and (call := re.fullmatch(r"field\(default_factory=(?:lambda: )?(.*)\)", default)):
        default = {"list": "[]", "dict": "{}"}.get(call[1][:4], call[1])
    shown = None if default == "MISSING" else default
    return Knob(name, kind, shown, text, home, group, several, option, condition, node.lineno)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""
