"""House rules: which module may import which, how large files are, where a value is defined."""

import ast
import io
import json
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from defaults import default
from documents import GUIDE, README, blocks
from omegaconf import OmegaConf
from rooms import FACES, ROOMS, core_files
from tests_of import covering_tests

from etude.config import registry
from etude.config.config_file import children, to_experiment
from etude.config.plugin_files import find, groups, options, source_files
from etude.config.plugin_source import describe
from etude.config.schema.plugins import ArchitectureConfig, PluginConfig
from etude.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
CORE, PLUGINS, CONF, TESTS = ROOT / "src/etude", ROOT / "plugins", ROOT / "conf", ROOT / "tests"
LIBRARIES = {"": set[str](), "files": set[str](), "config": {"hydra", "omegaconf", "yaml"}}
"""Libraries that these rooms (and the modules outside rooms) may import."""
N_LINES = {"core": 300, "plugin": 200, "function": 40, "verb": 200}
N_PARAMETERS = 6
N_CODE_LINES = 14_800
"""Limit for the rooms up to `training`, without blanks, comments and docstrings (decision 14)."""
EVALUATION = {"evaluator", "prompting", "scorer"}
"""Groups of `etude evaluate` alone."""
N_FACE_IMPORTS = 6
"""The most import lines of étude that a plugin may have."""
TESTED_TOGETHER = {
    **{f"data/record/{name}": "test_kinds.py" for name in options("data/record")},
    **{
        f"template/{name}": "test_renderings.py"
        for name in ("bare", "chatml", "gemma", "llama3", "mistral", "plain", "plain_eos")
    },
    "data/docs_chat": "test_python_docs.py",
    "data/docs_pairs": "test_python_docs.py",
    "data/docs_preferences": "test_python_docs.py",
}
"""Plugins that share a test file in their folder, because they obey the same law."""
ORDINARY = {
    "chat", "completions", "evaluate", "format", "gelu", "generation", "http", "label", "length",
    "math", "model", "none", "pair", "prompt", "python", "question", "rating", "reward", "rule",
    "run", "samples", "single", "span", "tags", "text",
}  # fmt: skip
"""Plugin names that are also fields, keys or formats of the core."""


def plugin_files() -> list[Path]:
    """Every plugin, without private modules."""
    return [file for file in plugin_modules() if not is_private(file)]


def plugin_modules() -> list[Path]:
    """Every file of `plugins/`, private modules included."""
    return sorted(PLUGINS.rglob("*.py"))


def is_private(file: Path) -> bool:
    return any(part.startswith("_") for part in file.relative_to(PLUGINS).parts)


def room(file: Path) -> str:
    """The room of a core module; empty for modules outside the rooms."""
    parts = file.relative_to(CORE).parts
    return parts[0] if len(parts) > 1 else ""


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """The dotted names of all absolute imports of a file."""
    return imports_of(tree(file))


def imports_of(module: ast.Module) -> Iterator[str]:
    """The dotted names of all absolute imports of a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_imports(file: Path) -> set[Path]:
    """The core modules a file imports; a package stands for its face."""
    found: set[Path] = set()
    for name in imports(file):
        if name.split(".")[0] == "etude":
            place = CORE.joinpath(*name.split(".")[1:])
            places = (place.with_suffix(".py"), place / "__init__.py")
            found |= {place for place in places if place.is_file()}
    return found


def relative_imports(file: Path) -> list[tuple[int, str]]:
    """The level and module of each relative import."""
    return [
        (node.level, node.module or "")
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def docstrings(file: Path) -> set[int]:
    """The lines of every docstring."""
    found: set[int] = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def n_code_lines(file: Path) -> int:
    """Lines with code: no blanks, comments or docstrings."""
    empty = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type not in (*empty, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings(file))


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key and value of every leaf of a YAML tree."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, config


def yaml_files() -> list[Path]:
    return sorted(CONF.rglob("*.yaml"))


def content(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def address(file: Path) -> str:
    return file.relative_to(PLUGINS).with_suffix("").as_posix()


CORE_FILES = pytest.mark.parametrize("file", core_files(), ids=relative)
PLUGIN_FILES = pytest.mark.parametrize("file", plugin_files(), ids=relative)
PLUGIN_MODULES = pytest.mark.parametrize("file", plugin_modules(), ids=relative)


def test_the_folders_are_the_rooms() -> None:
    folders = {
        file.parts[0] for file in (f.relative_to(CORE) for f in core_files()) if file.parent.name
    }
    assert folders == {*ROOMS, "plugins"}


@CORE_FILES
def test_a_room_imports_only_lower_rooms(file: Path) -> None:
    assert not relative_imports(file)
    if file.name in ("__init__.py", "__main__.py") and not room(file):
        return  # `etude` itself re-exports from several rooms
    order = {"": -1, "plugins": -1} | {name: i for i, name in enumerate(ROOMS)}
    above = [relative(to) for to in core_imports(file) if order[room(to)] > order[room(file)]]
    assert not above, f"{relative(file)} imports a higher room"


@CORE_FILES
def test_the_core_imports_files_and_never_a_face(file: Path) -> None:
    if file.name != "__init__.py":
        faces = {CORE / name / "__init__.py" for name in FACES} | {CORE / "__init__.py"}
        named = {node.module for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom)}
        modules = {CORE.joinpath(*str(name).split(".")[1:]) / "__init__.py" for name in named}
        submodules = {place.parent for place in modules & faces}
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ImportFrom) and node.module:
                place = CORE.joinpath(*node.module.split(".")[1:])
                if place in submodules and node.module.split(".")[0] == "etude":
                    names = [alias.name for alias in node.names]
                    assert all((place / f"{name}.py").exists() for name in names), names


@CORE_FILES
def test_the_lower_rooms_import_no_slow_library(file: Path) -> None:
    if room(file) in LIBRARIES:
        libraries = {name.partition(".")[0] for name in imports(file)}
        assert libraries - sys.stdlib_module_names - {"etude"} <= LIBRARIES[room(file)]


def test_the_core_has_no_circular_imports() -> None:
    files = [file for file in core_files() if file.name != "__init__.py"]
    below = {file: core_imports(file) - {file} for file in files}
    while free := {file for file, needs in below.items() if not needs & below.keys()}:
        below = {file: needs for file, needs in below.items() if file not in free}
    assert not below


@CORE_FILES
def test_the_core_imports_no_plugin(file: Path) -> None:
    assert not {name for name in imports(file) if name.startswith("etude.plugins.")}


@PLUGIN_MODULES
def test_plugins_import_faces_and_private_modules_of_their_group_or_of_all(file: Path) -> None:
    faces = {CORE / name / "__init__.py" for name in FACES} | {CORE / "__init__.py"}
    assert core_imports(file) <= faces
    assert not {name for name in imports(file) if name.startswith("etude.plugins")}
    group = file.relative_to(PLUGINS).parts[0]
    shared = [folder for folder in PLUGINS.glob("_*") if folder.is_dir()]
    for level, module in relative_imports(file):
        place = file.parents[level - 1].joinpath(*module.split("."))
        near = any(place.is_relative_to(folder) for folder in (PLUGINS / group, *shared))
        assert near, "a private module belongs to one group, or to all at the top"
        assert is_private(place), f"{module} is another plugin"


@PLUGIN_FILES
def test_a_plugin_imports_few_faces(file: Path) -> None:
    lines = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom)]
    assert sum((node.module or "").split(".")[0] == "etude" for node in lines) <= N_FACE_IMPORTS


@pytest.mark.parametrize("name", FACES)
def test_a_face_only_re_exports_and_describes_its_room(name: str) -> None:
    face = CORE / name / "__init__.py"
    doc, *body = tree(face).body
    assert ast.get_docstring(tree(face)), "a face needs a docstring"
    assert isinstance(doc, ast.Expr)
    kinds = (ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, kinds) for node in body), "a face only re-exports"
    assert {room(to) for to in core_imports(face)} == {name}


def test_every_name_has_one_face() -> None:
    owner: dict[str, str] = {}
    for face in [CORE / "__init__.py", *(CORE / name / "__init__.py" for name in FACES)]:
        for node in tree(face).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert alias.name not in owner, f"{alias.name}: {owner[alias.name]} too"
                    owner[alias.name] = relative(face)


def test_every_name_of_a_face_is_used_by_a_plugin() -> None:
    """By a shipped plugin, a template of `etude new`, or an example in the documents."""
    scaffold = [*(CORE / "cli/scaffold").rglob("*.py")]
    used = {name for file in [*plugin_modules(), *scaffold] for name in imports(file)}
    examples = [ast.parse(text) for page in (GUIDE, README) for text in blocks(page, "python")]
    used |= {name for example in examples for name in imports_of(example)}
    for name in FACES:
        exported = tree(CORE / name / "__init__.py").body
        for node in exported:
            if isinstance(node, ast.ImportFrom):
                unused = [a.name for a in node.names if f"etude.{name}.{a.name}" not in used]
                assert not unused, f"etude.{name}"


@CORE_FILES
def test_the_core_names_no_plugin(file: Path) -> None:
    """No string literal is a plugin's address, choice or name; messages may contain examples."""
    addresses = [address(plugin) for plugin in plugin_files()]
    names = {place.rpartition("/")[2] for place in addresses} - ORDINARY
    choices = {"=".join(place.rsplit("/", 1)) for place in addresses}
    literals = {
        node.value: node.lineno
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not {*addresses, *names, *choices} & literals.keys()


@pytest.mark.parametrize("file", [*core_files(), *plugin_modules()], ids=relative)
def test_no_file_and_no_function_is_too_large(file: Path) -> None:
    kind = "plugin" if file.is_relative_to(PLUGINS) else "core"
    kind = "verb" if file.parent.name == "verbs" else kind
    assert len(file.read_text(encoding="utf-8").splitlines()) <= N_LINES[kind]
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < N_LINES["function"], node.name
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [item.arg for item in arguments if item.arg not in ("self", "cls")]
            assert len(names) <= N_PARAMETERS, node.name


def test_the_rooms_up_to_training_are_small() -> None:
    rooms = ROOMS[: ROOMS.index("training") + 1]
    files = [file for file in core_files() if room(file) in ("", *rooms)]
    assert sum(map(n_code_lines, files)) <= N_CODE_LINES


def test_commands_that_only_check_or_show_a_config_do_not_load_torch() -> None:
    lines = [
        "--help",
        "train --help",
        "list",
        "show objective=dpo",
        "show architecture=llama",
        "show trainer",
        "show strategy",
        "show objective.beta",
        "label --help",
        "trian",
        "train objective=clmm",
        "train --cfg job",
        "train --cfg job objective=grpo architecture=llama adapter=lora",
        "train optimizer.lr=abc",
        "train optimizer.lr=-1",
        "train objective=mlm architecture=gpt2",
        "train objective=dpo objective.beta=0",
    ]
    program = (
        "import json, sys\nfrom etude.cli.main import main\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    main(line.split())\n"
        "    assert not {'torch', 'lightning'} & set(sys.modules), line\n"
    )
    command = [sys.executable, "-c", program, json.dumps(lines)]
    process = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "Tra" not in process.stderr


@pytest.mark.parametrize("file", yaml_files(), ids=relative)
def test_no_yaml_file_has_a_target_or_a_key_named_like_a_group(file: Path) -> None:
    keys = [key for key, _ in leaves(content(file))]
    assert not [key for key in keys if "_target_" in key.split(".")]
    assert not {key.replace(".", "/") for key in keys} & set(groups())


PRESETS = [*sorted(CONF.glob("architecture/*.yaml")), *sorted(CONF.glob("objective/*.yaml"))]


@pytest.mark.parametrize("file", PRESETS, ids=relative)
def test_no_preset_repeats_a_default(file: Path) -> None:
    from etude.config.composition import compose

    group = file.parent.name
    values = dict(leaves({k: v for k, v in content(file).items() if k != "defaults"}))
    bare = compose("train", [f"{group}={file.stem}"]).config[group]
    for key, value in values.items():
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(bare, parent) if parent else bare
        kind = OmegaConf.get_type(node)
        default = OmegaConf.structured(kind)[name]
        assert default != value, f"{key}: {value} is the default of {kind}"


@pytest.mark.parametrize("file", sorted(CONF.glob("experiment/*.yaml")), ids=relative)
def test_no_recipe_repeats_a_default(file: Path) -> None:
    from etude.config.composition import compose

    full = content(file)
    values = dict(leaves({key: value for key, value in full.items() if key != "defaults"}))
    choices = []
    for item in full.get("defaults", []):
        if isinstance(item, dict):
            ((key, option),) = item.items()
            choices.append(f"{key.removeprefix('override ').lstrip('/')}={option}")
    plain = compose("train", choices).config
    for key, value in values.items():
        default = OmegaConf.select(plain, key, throw_on_missing=False)
        assert default != value, f"{key}: {value} is the value without this line"


def test_root_configs_set_no_value() -> None:
    for file in CONF.glob("*.yaml"):
        assert content(file).keys() <= {"defaults", "hydra"}


def test_no_knob_has_the_path_of_a_group() -> None:
    paths = set(groups())
    for file in plugin_files():
        described = describe(address(file))
        group = described.address.rpartition("/")[0]
        for knob in described.knobs:
            assert knob.group or f"{group}/{knob.name}" not in paths, described.address


def config_classes() -> list[tuple[Path, ast.ClassDef]]:
    return [
        (file, node)
        for file in [*core_files(), *plugin_modules()]
        for node in tree(file).body
        if isinstance(node, ast.ClassDef)
        and node.name.endswith("Config")
        and any("dataclass" in ast.unparse(mark) for mark in node.decorator_list)
    ]


@pytest.mark.parametrize(("file", "kind"), config_classes(), ids=lambda x: getattr(x, "name", ""))
def test_every_knob_has_a_docstring_under_it(file: Path, kind: ast.ClassDef) -> None:
    groups = {base.__name__ for base in _bases(PluginConfig)}
    for node, after in zip(kind.body, [*kind.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = set(ast.unparse(node.annotation).replace("[", " ").replace("]", " ").split())
            if not words & groups and "Config" not in ast.unparse(node.annotation):
                documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert documented, f"{relative(file)}: {kind.name}.{node.target.id}"


def _bases(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from _bases(below)


@PLUGIN_FILES
def test_every_plugin_opens_with_one_sentence(file: Path) -> None:
    first = (ast.get_docstring(tree(file)) or "").partition("\n")[0]
    assert len(first) > 5, "the docstring needs a first sentence"
    assert first.endswith("."), "the first sentence is one line with a full stop"


@PLUGIN_FILES
def test_every_plugin_loads_and_its_defaults_are_valid(file: Path) -> None:
    loaded = registry.load(address(file))
    described = describe(loaded.address)
    assert {knob.name for knob in described.knobs} == {item.name for item in fields(loaded.config)}
    assert registry.plugin_of(default(loaded.address)) is loaded


@PLUGIN_FILES
def test_every_knob_is_read(file: Path) -> None:
    """By the plugin or the core; a knob that only its own check reads would have no effect."""
    reads_of_plugin = set().union(*(_reads(tree(one)) for one in source_files(file)))
    reads = reads_of_plugin | _reads_of_the_core()
    for knob in describe(address(file)).knobs:
        assert knob.name in reads, f"{address(file)}: nothing reads {knob.name}"


@cache
def _reads_of_the_core() -> frozenset[str]:
    return frozenset(name for file in core_files() for name in _reads(tree(file)))


def _reads(node: ast.AST) -> set[str]:
    """The attributes that are read below a node, except in `__post_init__`."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
            found.add(child.attr)
        if not (isinstance(child, ast.FunctionDef) and child.name == "__post_init__"):
            found |= _reads(child)
    return found


@PLUGIN_FILES
def test_every_plugin_has_a_test_file_in_the_mirrored_place(file: Path) -> None:
    place = file.relative_to(PLUGINS)
    shared = TESTED_TOGETHER.get(place.with_suffix("").as_posix())
    test = TESTS / "plugins" / place.parent / (shared or f"test_{place.name}")
    assert test.exists(), test
    assert not shared or place.stem in test.read_text(encoding="utf-8")


@CORE_FILES
def test_every_module_has_tests(file: Path) -> None:
    if file.name != "__init__.py":
        assert covering_tests(file), "no test mirrors or imports it; try `make test-of FILE=...`"


def test_every_group_of_plugins_is_in_the_schema() -> None:
    from etude.config.schema.experiment import ExperimentConfig

    known = {*children(ExperimentConfig)}
    for kind in (ArchitectureConfig, *_bases(ArchitectureConfig)):
        known |= {f"architecture/{name}" for name in children(kind)}
    assert set(groups()) <= known | {
        "data/record",
        "judge",
        "architecture/position/scaling",
        "objective/corruption",
        "objective/masking",
        "layout",
        *EVALUATION,
    }
    with pytest.raises(ConfigError):
        find("objective/nothing")


def test_a_config_that_is_not_an_experiment_is_refused() -> None:
    with pytest.raises(ConfigError):
        to_experiment(OmegaConf.create({"a": 1}))
