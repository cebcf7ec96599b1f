"""Finds plugin files: folders, addresses and private modules. Nothing is imported.

The address of a plugin is its path: `objective/dpo` is `plugins/objective/dpo.py`.
"""

import ast
import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path

from etude.errors import ConfigError
from etude.files.atomic import sha256

ROOT = "etude.plugins"


def roots() -> list[Path]:
    """The folders that are searched for plugins."""
    return [Path(folder) for folder in importlib.import_module(ROOT).__path__]


def _files(group: str = "") -> Iterator[tuple[str, Path]]:
    """Yields each plugin file below a group with its address. Raises ConfigError for a package."""
    for root in roots():
        for file in sorted((root / group.strip("/")).rglob("*.py")):
            place = file.relative_to(root)
            if (
                any(part.startswith((".", "_")) for part in place.parts[:-1])
                or len(place.parts) < 2
            ):
                continue
            if place.name == "__init__.py":
                raise _hiding(file, place.parent.as_posix())
            if place.stem.isidentifier() and not place.stem.startswith("_"):
                yield place.with_suffix("").as_posix(), file


def _hiding(file: Path, group: str) -> ConfigError:
    return ConfigError(
        f"{file} hides every other plugin of the group {group}.\n"
        "  A group is a plain folder that several places share. Delete that file."
    )


def addresses() -> list[str]:
    """The addresses of all plugins, sorted."""
    return sorted({address for address, _ in _files()})


def groups() -> list[str]:
    """All groups with a plugin, including nested ones such as `architecture/mlp`, sorted."""
    return sorted({address.rpartition("/")[0] for address in addresses()})


def options(group: str) -> list[str]:
    """The names of a group's plugins, sorted, without those of its nested groups."""
    inside = sorted({address for address, _ in _files(group)})
    return [name for place, _, name in (a.rpartition("/") for a in inside) if place == group]


def find(address: str) -> Path:
    """The file of a plugin. Raises ConfigError if there is none or more than one."""
    group, _, name = address.rpartition("/")
    places = [Path(group), *Path(group).parents][:-1]
    for place in (root / folder for root in roots() for folder in places):
        if (place / "__init__.py").is_file():
            raise _hiding(place / "__init__.py", group)
    found = [file for root in roots() if (file := root / f"{address}.py").is_file()]
    if not found:
        raise ConfigError(
            f"{group}={name} does not exist.\n"
            f"  The group {group} has: {', '.join(options(group)) or 'no plugin'}."
        )
    if len(found) > 1:
        raise ConfigError(
            f"{group}={name} is ambiguous: {' and '.join(str(file) for file in found)} both claim "
            "that address.\n  Rename one of them."
        )
    return found[0]


def configurations() -> list[Path]:
    """The folders of YAML configs: the shipped `conf/`, and `./conf` in the working directory."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    shipped = checkout if (checkout / "pyproject.toml").is_file() else package
    return list(dict.fromkeys([shipped / "conf", Path("conf").resolve()]))


def source_files(plugin: Path) -> list[Path]:
    """A plugin's file and the private modules that it imports, directly or indirectly.

    The name of a private module or of its folder begins with an underscore. Plugins use relative
    imports (`from ._ppo.advantages import ...`), so private modules are next to their plugin.
    """
    found = [plugin]
    for file in found:
        found += [module for module in _relative_imports(file) if module not in found]
    return found


def source_digest(plugin: Path) -> str:
    """SHA-256 of a plugin's file, or of the digests of all its files if it has private modules."""
    digests = [sha256(file) for file in source_files(plugin)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def refuse_ambiguous_modules(plugin: Path) -> None:
    """Raises ConfigError if a private module exists in several plugin folders."""
    here = next(root for root in roots() if plugin.is_relative_to(root))
    for module in source_files(plugin)[1:]:
        places = [root / module.relative_to(here) for root in roots()]
        claims = [str(place) for place in places if place.is_file()]
        if len(claims) > 1:
            raise ConfigError(
                f"{plugin} imports a private module that exists {len(claims)} times: "
                f"{' and '.join(claims)}.\n  Rename yours."
            )


def _relative_imports(file: Path) -> Iterator[Path]:
    """The files that a plugin or private module imports with leading dots."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            places = [base, *(base / alias.name for alias in node.names)]
            yield from filter(Path.is_file, (place.with_suffix(".py") for place in places))
