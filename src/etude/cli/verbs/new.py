"""Creates a small working plugin and its passing test in the current folder.

    etude new objective apo             plugins/objective/apo.py and tests/test_objective_apo.py
    etude new objective apo shape=preference      of preferences; text, on_policy or labelled
    etude new architecture/mixer conv   any part of a network
    etude new architecture mine         a preset: conf/architecture/mine.yaml
    etude new experiment mine           a recipe; also pipeline and sweep
    etude new package my_plugins        a package for pip, with a plugin and its private module

Existing files are never overwritten. `etude check objective=apo` tests the plugin's laws.
"""

import ast
import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from etude.config.hydra_source import FOR
from etude.config.plugin_files import ROOT, find, groups, options
from etude.config.plugin_source import presets
from etude.errors import ConfigError, did_you_mean
from etude.files.atomic import write_atomic

KIT = Path(__file__).resolve().parents[1] / "scaffold"
SHAPE = "text"
"""The shape of the template in the group's folder; the others are in `scaffold/shapes`."""
PACKAGE = "package"
PACKAGE_GROUP = "objective"
"""Group of the plugin in a new pip package."""
STEM = "sketch"
"""Placeholder name of the plugin in every template."""
SUFFIXES = (".md", ".py", ".toml", ".yaml")
"""Suffixes of template files; an installed package also contains compiled files."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    shape = next((a.removeprefix("shape=") for a in arguments if a.startswith("shape=")), SHAPE)
    words = [argument for argument in arguments if not argument.startswith("shape=")]
    if len(words) != 2:
        raise ConfigError(
            f"etude new takes a group and a name: etude new {PACKAGE_GROUP} my_own\n{_list()}"
        )
    group, name = words
    if group not in templates():
        raise ConfigError(f"etude new has no template for {group}.\n{_list()}")
    if shape != SHAPE and shape not in shapes(group):
        known = ", ".join([SHAPE, *shapes(group)] if shapes(group) else ["none"])
        hint = did_you_mean(shape, shapes(group), "shape=")
        raise ConfigError(f"shape={shape}: {group} has no such shape.{hint}\n  Shapes: {known}.")
    _refuse_name(PACKAGE_GROUP if group == PACKAGE else group, name)
    files = files_of_package(name) if group == PACKAGE else files_of_plugin(group, name, shape)
    _refuse_clash(name, files)
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text)
        print(file)
    return 0


def templates() -> dict[str, Path]:
    """Returns the template of each group that has one; the package template is a folder."""
    files = {
        file.relative_to(root).parent.as_posix(): file
        for root in (KIT / "plugins", KIT / "conf")
        for file in root.rglob(f"{STEM}.*")
        if file.suffix in SUFFIXES
    }
    return dict(sorted({**files, PACKAGE: KIT / PACKAGE}.items()))


def shapes(group: str) -> list[str]:
    """Returns the shapes of a group's template, besides the one in its folder."""
    return sorted(
        folder.name for folder in KIT.glob("shapes/*") if (folder / "plugins" / group).is_dir()
    )


def files_of_plugin(group: str, name: str, shape: str = SHAPE) -> dict[Path, str]:
    """Returns the text of each file of a new plugin or preset, by its path in the project."""
    root = KIT if shape == SHAPE else KIT / "shapes" / shape
    test = f"test_{group.replace('/', '_')}_{STEM}.py"
    files = [templates()[group].relative_to(KIT), Path("tests") / test]
    return {Path(rename_template(str(file), name)): _text(root / file, name) for file in files}


def files_of_package(name: str) -> dict[Path, str]:
    """Returns the text of each file of a new package, by its path in the working directory."""
    root = KIT / PACKAGE
    files = sorted(file for file in root.rglob("*.*") if file.suffix in SUFFIXES)
    return {
        Path(name, rename_template(str(f.relative_to(root)), name)): _text(f, name) for f in files
    }


def rename_template(text: str, name: str) -> str:
    """Returns a template's text with the plugin and its classes renamed."""
    return text.replace(STEM.capitalize(), camel(name)).replace(STEM, name)


def camel(name: str) -> str:
    """Returns the class name of a plugin: `my_own` becomes `MyOwn`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _text(template: Path, name: str) -> str:
    return rename_template(template.read_text(encoding="utf-8"), name)


def _list() -> str:
    return f"  Templates: {', '.join(templates())}."


def _refuse_name(group: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name} is not a valid plugin name: it must be a Python identifier in snake_case."
            "\n  Use lowercase letters, digits and _, such as my_own."
        )
    if name.startswith(FOR) or f"{group}/{name}" in groups():
        raise ConfigError(
            f"{name} is a reserved name in the group {group}.\n  Choose another name."
        )
    if name in options(group):
        raise ConfigError(f"{group}={name} already exists: {find(f'{group}/{name}')}.")
    if name in presets(group):
        raise ConfigError(f"{group}={name} already exists: {presets(group)[name]}.")


def _refuse_clash(name: str, files: dict[Path, str]) -> None:
    """Raises ConfigError if a file would be overwritten or an import of the template shadowed."""
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} already exists and will not be overwritten.")
    if Path(name) in {file.parents[-2] for file in files} and find_spec(name) is not None:
        raise ConfigError(f"A package named {name} is installed.\n  Choose another name.")
    used = {word for file, text in files.items() for word in _imported_names(file, text)}
    for taken in {name, camel(name)} & used:
        raise ConfigError(
            f"{name} cannot be used: the template imports something called {taken}.\n"
            f"  Choose another name, such as my_{name}."
        )


def _imported_names(file: Path, text: str) -> set[str]:
    """Returns the names a Python file imports, except those of the plugin itself."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text) if file.suffix == ".py" else ast.Module([], [])):
        own = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{ROOT}.")
        if isinstance(node, ast.Import | ast.ImportFrom) and not own:
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return names
