"""Finds plugin files: folders, addresses and private modules. Nothing is imported.

The address of a plugin is its path: `objective/dpo` is `plugins/objective/dpo.py`.
"""

import ast
import hashlib
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from etude.errors import ConfigError
from etude.files.atomic import sha256

ROOT = "etude.plugins"
CONFIG_DIR = "ETUDE_CONFIG_DIR"
"""The environment variable with the folder of `--config-dir`."""
_SEVERAL = r"dict\[str, \w+Config\]"


def roots() -> list[Path]:
    """The folders that are searched for plugins."""
    return [Path(folder) for folder in importlib.import_module(ROOT).__path__]


def _files(group: str = "") -> Iterator[tuple[str, Path]]:
    """Yields each plugin file below a group with its address. Raises ConfigError for a package."""
    for root in roots():
        for file in sorted((root / group.strip("/")).rglob("*.py")):
            path = file.relative_to(root)
            if any(part.startswith((".", "_")) for part in path.parts[:-1]) or len(path.parts) < 2:
                continue
            if path.name == "__init__.py":
                raise _hidden_group(file, path.parent.as_posix())
            if path.stem.isidentifier() and not path.stem.startswith("_"):
                yield path.with_suffix("").as_posix(), file


def _hidden_group(file: Path, group: str) -> ConfigError:
    return ConfigError(
        f"{file} hides every other plugin of the group {group}.\n"
        "  A group must be a folder without __init__.py, shared by several roots. Delete that file."
    )


def addresses() -> list[str]:
    """The addresses of all plugins, sorted."""
    return sorted({address for address, _ in _files()})


def groups() -> list[str]:
    """All groups with a plugin, including nested ones such as `architecture/mlp`, sorted."""
    return sorted({address.rpartition("/")[0] for address in addresses()})


def home(group: str) -> str | None:
    """The group whose plugins are the options of `group`; None if there is no such group.

    That is the group itself, or, of a slot such as `architecture/mixer/main`, which a plugin of
    `architecture/mixer` declares by `main: MixerConfig = option(...)`, the group of that plugin.
    Of a slot inside such a slot, it is that group's own: of `data/sources/record`, `data/record`.
    """
    parent, _, name = group.rpartition("/")
    above = home(parent) if parent else None
    nested = f"{above}/{name}" if above else group
    if any((root / nested).is_dir() for root in roots()):
        return nested
    return _declared_slot(group, r"\w+Config = option\(") or _declared_slot(group, _SEVERAL)


def is_list(group: str) -> bool:
    """Whether a group is a slot for any number of plugins, such as `data/sources`.

    A plugin of `data` declares it by `sources: dict[str, DataConfig]`.
    """
    return _declared_slot(group, _SEVERAL) is not None


def _declared_slot(group: str, kind: str) -> str | None:
    """The group of the plugins of a slot, if a plugin declares the slot as of this kind."""
    parent, _, name = group.rpartition("/")
    above = home(parent) if parent else None
    if above is None:
        return None
    declares = re.compile(rf"^    {re.escape(name)}: {kind}", re.MULTILINE)
    sources = (f.read_text(encoding="utf-8") for r in roots() for f in (r / above).glob("*.py"))
    return above if any(map(declares.search, sources)) else None


def canonical(address: str) -> str:
    """The address of a plugin's own file, if it is given as an option of a slot."""
    group, _, name = address.rpartition("/")
    return f"{home(group) or group}/{name}"


def options(group: str) -> list[str]:
    """The names of a group's plugins, sorted, without those of its nested groups."""
    group = home(group) or group
    known = sorted({address for address, _ in _files(group)})
    return [name for parent, _, name in (a.rpartition("/") for a in known) if parent == group]


def find(address: str) -> Path:
    """The file of a plugin. Raises ConfigError if there is none or more than one."""
    address = canonical(address)
    group, _, name = address.rpartition("/")
    parents = [Path(group), *Path(group).parents][:-1]
    for folder in (root / parent for root in roots() for parent in parents):
        if (folder / "__init__.py").is_file():
            raise _hidden_group(folder / "__init__.py", group)
    files = [file for root in roots() if (file := root / f"{address}.py").is_file()]
    if not files:
        raise ConfigError(
            f"{group}={name} does not exist.\n"
            f"  Options of {group}: {', '.join(options(group)) or 'none'}."
        )
    if len(files) > 1:
        raise ConfigError(
            f"{group}={name} is ambiguous: {' and '.join(str(file) for file in files)} have "
            "the same address.\n  Rename one of them."
        )
    return files[0]


def configurations() -> list[Path]:
    """The folders of YAML configs; the first that has a file wins.

    The shipped `conf/`, `./conf`, that of `--config-dir`, and `conf/` in each plugin folder, where
    a package brings its own presets and recipes.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    shipped = checkout if (checkout / "pyproject.toml").is_file() else package
    given = [Path(folder) for folder in [os.environ.get(CONFIG_DIR)] if folder]
    inside = [folder for root in roots() if (folder := root / "conf").is_dir()]
    return list(dict.fromkeys([shipped / "conf", Path("conf").resolve(), *given, *inside]))


def use_config_dir(folder: str) -> None:
    """Adds a folder of YAML configs, in this process and its children."""
    if not Path(folder).is_dir():
        raise ConfigError(f"--config-dir={folder} is not a folder.")
    os.environ[CONFIG_DIR] = str(Path(folder).resolve())


def source_files(plugin: Path) -> list[Path]:
    """A plugin's file and the private modules that it imports, directly or indirectly.

    The name of a private module or of its folder begins with an underscore. Plugins use relative
    imports (`from ._ppo.advantages import ...`), so private modules are next to their plugin.
    """
    files = [plugin]
    for file in files:
        files += [module for module in _relative_imports(file) if module not in files]
    return files


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
        candidates = [root / module.relative_to(here) for root in roots()]
        copies = [str(file) for file in candidates if file.is_file()]
        if len(copies) > 1:
            raise ConfigError(
                f"{plugin} imports a private module that exists {len(copies)} times: "
                f"{' and '.join(copies)}.\n  Rename your own."
            )


def _relative_imports(file: Path) -> Iterator[Path]:
    """The files that a plugin or private module imports with leading dots."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            modules = [base, *(base / alias.name for alias in node.names)]
            yield from filter(Path.is_file, (module.with_suffix(".py") for module in modules))
