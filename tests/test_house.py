"""The rules of the house: who may know what, how large anything is, where a fact may stand."""

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
from omegaconf import OmegaConf

from etude import registry
from etude.config_file import children, typed
from etude.describe import describe
from etude.errors import ConfigError
from etude.schema import ArchitectureConfig, PluginConfig

ROOT = Path(__file__).resolve().parents[1]
CORE, PLUGINS, CONF, TESTS = ROOT / "src/etude", ROOT / "plugins", ROOT / "conf", ROOT / "tests"
FLOORS: dict[int, str] = {
    0: "capability documents errors records run_files stdlib_text sweep_folder whole_file",
    1: "__init__ command_line compatibility completion composition config_file curation_schema "
    "describe experiment hydra_source parameter_group pipeline_schema plugins refusal "
    "registry report_schema schema stack_schema",
    2: "adapter advantage answers attempts batches cache card chat checkpoint context contracts "
    "conversations corpus curation damage flops functional generation hardware inputs judging "
    "layout loss masking network objective on_policy peft_format policy_gradient preferences "
    "ranks readers record_file reference remote replay rewards rivals rollout run_reader scoring "
    "shaping stack ties token_rows tokenizer tokenizer_files trackers tree validation value "
    "verifier window",
    3: "assemble best_model fit launch progress resume run_writer worker",
    4: "__main__ cli laws.adapting laws.choosing laws.coding laws.comparing laws.finding "
    "laws.judged laws.learning laws.reading laws.running laws.seeing laws.speaking laws.stepping "
    "laws.suites laws.trial laws.watching "
    "leaderboard lineage origin outcome pages.batch pages.catalogue pages.plan pages.plugin "
    "pages.report.comparison pages.report.curves pages.report.groups pages.report.markup "
    "pages.report.page pages.report.picture pages.report.records pages.report.runs "
    "pages.report.scaling pages.report.statistics pages.report.sweep pages.report.view "
    "planning.alternatives planning.authorship planning.calibration planning.forecast "
    "planning.ledger planning.rehearsal planning.shapes planning.trial question recipe "
    "reproduction search_space stage study sweeps training verbs.check verbs.converse "
    "verbs.data verbs.generate verbs.inspect verbs.label verbs.lineage verbs.list verbs.new "
    "verbs.pipeline verbs.plan verbs.report verbs.reproduce verbs.select verbs.show "
    "verbs.train",
}
"""What a floor may import: itself and those below. No module of floors 0 and 1 imports torch."""
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
LIBRARIES = {0: set[str](), 1: {"hydra", "omegaconf", "yaml"}}
"""What else floors 0 and 1 may import beside Python's own library."""
N_LINES = {"core": 300, "plugin": 200, "function": 40, "verb": 200}
N_PARAMETERS = 6
N_CODE_LINES = 7_950
"""Of floors 0 to 3, without blanks, comments and docstrings: see decisions 4 and 7 to 10."""
TESTED_TOGETHER = {
    **{
        f"data/jsonl{kind}": "test_jsonl_kinds.py"
        for kind in ("", "_alpaca", "_chats", "_feedback", "_labels", "_pairs", "_preferences")
    },
    "data/jsonl_prompts": "test_jsonl_kinds.py",
    "data/jsonl_rankings": "test_jsonl_kinds.py",
    **{
        f"template/{name}": "test_renderings.py"
        for name in ("chatml", "gemma", "llama3", "mistral", "plain")
    },
    "data/docs_chat": "test_python_docs.py",
    "data/docs_pairs": "test_python_docs.py",
    "data/docs_preferences": "test_python_docs.py",
}
"""Plugins that state one law, in one test file of their folder."""
TESTED_BY: dict[str, str] = {
    "test_matrix.py": "assemble validation",
    "test_promises.py": "errors progress worker",
    "etude/test_run_writer.py": "trackers",
    "plugins/optimizer/test_laws.py": "parameter_group",
    "plugins/strategy/test_ddp.py": "launch ranks",
    "etude/test_cli.py": "__main__ completion refusal verbs.list verbs.show verbs.train",
    "plugins/callback/test_throughput.py": "flops",
    "etude/test_corpus.py": "cache card contracts record_file records token_rows",
    "etude/test_hydra_source.py": "composition",
    "etude/test_config_file.py": "experiment schema stack_schema",
    "etude/test_registry.py": "__init__ plugins",
    "etude/test_chat.py": "tokenizer_files",
    "plugins/objective/test_sft.py": "answers",
    "etude/test_objective.py": "batches loss",
    "plugins/adapter/test_lora.py": "peft_format",
    "etude/test_layout.py": "ties",
    "etude/verbs/test_pipeline.py": "pipeline_schema",
    "plugins/architecture/test_laws.py": "capability context generation inputs network stack",
    "plugins/objective/test_dpo.py": "functional",
    "plugins/objective/test_mlm.py": "masking",
    "plugins/objective/test_grpo.py": "attempts on_policy policy_gradient rollout",
    "plugins/data/test_python_docs.py": "stdlib_text",
    "etude/test_checkpoint.py": "whole_file",
    "etude/test_worker.py": "fit resume run_files run_reader run_writer",
    "etude/test_laws.py": "laws.adapting laws.choosing laws.coding laws.comparing laws.finding "
    "laws.judged laws.learning laws.reading laws.running laws.seeing laws.speaking laws.stepping "
    "laws.suites laws.trial laws.watching",
    "etude/verbs/test_label.py": "curation curation_schema",
    "etude/test_sweeps.py": "leaderboard outcome recipe training",
    "etude/test_study.py": "search_space",
    "plugins/callback/test_asha.py": "rivals sweep_folder",
    "etude/verbs/test_report.py": "report_schema",
    "etude/pages/test_report_page.py": "pages.report.curves pages.report.groups "
    "pages.report.markup pages.report.page pages.report.records pages.report.runs "
    "pages.report.view",
    "etude/pages/test_report_numbers.py": "pages.report.comparison pages.report.scaling "
    "pages.report.statistics pages.report.sweep",
    "etude/pages/test_report_browser.py": "pages.report.picture",
    "etude/test_lineage.py": "origin question verbs.lineage",
    "etude/test_reproduction.py": "verbs.reproduce",
    "etude/test_plan.py": "planning.alternatives planning.authorship planning.calibration "
    "planning.forecast planning.ledger planning.rehearsal planning.shapes",
    "etude/verbs/test_plan.py": "pages.plan planning.trial",
}
TESTED_IN = {name: place for place, names in TESTED_BY.items() for name in names.split()}
"""Modules that are tested through what they are for, each with the file that does."""
ORDINARY = {
    "format", "gelu", "http", "length", "math", "model", "none", "reward", "run", "samples",
    "single", "text",
}  # fmt: skip
"""Names of plugins that are also words of the core's own: fields, keys and formats."""


def core_files() -> list[Path]:
    """Every module; what `etude new` copies is text, held to its rules by its own tests."""
    kit = CORE / "kit"
    return sorted(file for file in CORE.rglob("*.py") if not file.is_relative_to(kit))


def plugin_files() -> list[Path]:
    return sorted(file for file in PLUGINS.rglob("*.py"))


def module(file: Path) -> str:
    """The name of a core module below `etude`, such as `verbs.train`."""
    name = ".".join(file.relative_to(CORE).with_suffix("").parts)
    return name.removesuffix(".__init__") or "__init__"


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """The dotted name of everything a file imports, wherever in it."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} is a relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_imports(file: Path) -> set[str]:
    """The core modules a file imports."""
    below = (name.removeprefix("etude.") for name in imports(file) if name.startswith("etude."))
    return {name for name in below if name in FLOOR_OF or name.startswith("plugins.")}


def docstrings(file: Path) -> set[int]:
    """The lines of every string that stands alone as a statement."""
    found: set[int] = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def n_code_lines(file: Path) -> int:
    empty = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type not in (*empty, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings(file))


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a YAML tree with its dotted key."""
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


def test_every_module_stands_on_a_floor_and_every_floor_lists_only_modules() -> None:
    assert {module(file) for file in core_files()} == set(FLOOR_OF)


@CORE_FILES
def test_imports_of_the_core_go_down_only(file: Path) -> None:
    floor = FLOOR_OF[module(file)]
    above = {name for name in core_imports(file) if FLOOR_OF.get(name, 9) > floor}
    assert not above, f"{relative(file)} stands on floor {floor}"


@CORE_FILES
def test_floors_0_and_1_import_no_library_that_is_slow_to_load(file: Path) -> None:
    floor = FLOOR_OF[module(file)]
    if floor in LIBRARIES:
        libraries = {name.partition(".")[0] for name in imports(file)}
        assert libraries - sys.stdlib_module_names - {"etude"} <= LIBRARIES[floor]


def test_no_module_of_the_core_imports_itself_in_a_circle() -> None:
    below = {module(file): core_imports(file) - {module(file)} for file in core_files()}
    while free := {name for name, needs in below.items() if not needs & below.keys()}:
        below = {name: needs for name, needs in below.items() if name not in free}
    assert not below


@CORE_FILES
def test_the_core_imports_no_plugin(file: Path) -> None:
    assert not {name for name in imports(file) if name.startswith("etude.plugins.")}


@PLUGIN_FILES
def test_plugins_import_floors_0_to_2_and_never_one_another(file: Path) -> None:
    found = core_imports(file)
    assert not {name for name in found if name.startswith("plugins")}
    assert not {name for name in found if FLOOR_OF[name] > 2}


@CORE_FILES
def test_the_core_names_no_plugin(file: Path) -> None:
    """No whole literal is the address, choice or name of one; a message may give examples."""
    addresses = [address(plugin) for plugin in plugin_files()]
    names = {place.rpartition("/")[2] for place in addresses} - ORDINARY
    choices = {"=".join(place.rsplit("/", 1)) for place in addresses}
    literals = {
        node.value: node.lineno
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not {*addresses, *names, *choices} & literals.keys()


@pytest.mark.parametrize("file", [*core_files(), *plugin_files()], ids=relative)
def test_no_file_and_no_function_is_too_large(file: Path) -> None:
    kind = "plugin" if file.is_relative_to(PLUGINS) else "core"
    kind = "verb" if file.parent.name == "verbs" else kind
    assert len(file.read_text(encoding="utf-8").splitlines()) <= N_LINES[kind]
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < N_LINES["function"], node.name
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [item.arg for item in given if item.arg not in ("self", "cls")]
            assert len(named) <= N_PARAMETERS, node.name


def test_the_core_is_small() -> None:
    assert sum(n_code_lines(f) for f in core_files() if FLOOR_OF[module(f)] < 4) <= N_CODE_LINES


def test_nothing_that_only_looks_loads_torch() -> None:
    lines = [
        "--help",
        "train --help",
        "list",
        "show objective=dpo",
        "show architecture=llama",
        "trian",
        "train objective=clmm",
    ]
    program = (
        "import json, sys\nfrom etude.cli import main\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    main(line.split())\n"
        "    assert not {'torch', 'lightning', 'numpy'} & set(sys.modules), line\n"
    )
    given = [sys.executable, "-c", program, json.dumps(lines)]
    assert not subprocess.run(given, capture_output=True, check=True, text=True).stderr.count("Tra")


@pytest.mark.parametrize("file", yaml_files(), ids=relative)
def test_no_yaml_has_a_target_or_gives_a_key_the_place_of_a_group(file: Path) -> None:
    keys = [key for key, _ in leaves(content(file))]
    assert not [key for key in keys if "_target_" in key.split(".")]
    assert not {key.replace(".", "/") for key in keys} & set(registry.groups())


PRESETS = [*sorted(CONF.glob("architecture/*.yaml")), *sorted(CONF.glob("objective/*.yaml"))]


@pytest.mark.parametrize("file", PRESETS, ids=relative)
def test_no_preset_restates_a_default(file: Path) -> None:
    from etude.composition import compose

    group = file.parent.name
    given = dict(leaves({k: v for k, v in content(file).items() if k != "defaults"}))
    bare = compose("train", [f"{group}={file.stem}"]).config[group]
    for key, value in given.items():
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(bare, parent) if parent else bare
        kind = OmegaConf.get_type(node)
        default = OmegaConf.structured(kind)[name]
        assert default != value, f"{key}: {value} is the default of {kind}"


@pytest.mark.parametrize("file", sorted(CONF.glob("experiment/*.yaml")), ids=relative)
def test_no_recipe_restates_a_default(file: Path) -> None:
    from etude.composition import compose

    full = content(file)
    given = dict(leaves({key: value for key, value in full.items() if key != "defaults"}))
    choices = []
    for item in full.get("defaults", []):
        if isinstance(item, dict):
            ((key, option),) = item.items()
            choices.append(f"{key.removeprefix('override ').lstrip('/')}={option}")
    plain = compose("train", choices).config
    for key, value in given.items():
        default = OmegaConf.select(plain, key, throw_on_missing=False)
        assert default != value, f"{key}: {value} is what these choices give anyway"


def test_the_root_sets_no_value_of_ours() -> None:
    for file in CONF.glob("*.yaml"):
        assert content(file).keys() <= {"defaults", "hydra"}


def test_no_value_shares_its_path_with_a_group() -> None:
    groups = set(registry.groups())
    for file in plugin_files():
        described = describe(address(file))
        group = described.address.rpartition("/")[0]
        for knob in described.knobs:
            assert knob.group or f"{group}/{knob.name}" not in groups, described.address


def config_classes() -> list[tuple[Path, ast.ClassDef]]:
    places = [
        CORE / "schema.py",
        CORE / "stack_schema.py",
        CORE / "experiment.py",
        CORE / "curation_schema.py",
        CORE / "on_policy.py",
        CORE / "preferences.py",
        CORE / "readers.py",
        CORE / "damage.py",
    ]
    return [
        (file, node)
        for file in [*places, *plugin_files()]
        for node in tree(file).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
    ]


@pytest.mark.parametrize(("file", "kind"), config_classes(), ids=lambda x: getattr(x, "name", ""))
def test_every_knob_has_a_docstring_under_it(file: Path, kind: ast.ClassDef) -> None:
    groups = {base.__name__ for base in _bases(PluginConfig)}
    for node, after in zip(kind.body, [*kind.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = set(ast.unparse(node.annotation).replace("[", " ").replace("]", " ").split())
            if not words & groups and "Config" not in ast.unparse(node.annotation):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert said, f"{relative(file)}: {kind.name}.{node.target.id}"


def _bases(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from _bases(below)


@PLUGIN_FILES
def test_every_plugin_opens_with_what_it_is(file: Path) -> None:
    said = ast.get_docstring(tree(file)) or ""
    first = said.partition("\n")[0]
    assert len(first) > 5, "a sentence says what it is"
    assert first.endswith("."), "on one line, with a full stop"


@PLUGIN_FILES
def test_every_plugin_loads_and_its_defaults_are_legal(file: Path) -> None:
    loaded = registry.load(address(file))
    described = describe(loaded.address)
    assert {knob.name for knob in described.knobs} == {item.name for item in fields(loaded.config)}
    assert registry.plugin_of(default(loaded.address)) is loaded


@PLUGIN_FILES
def test_every_knob_is_read_by_someone(file: Path) -> None:
    """A key that only its own check reads has no effect, and a setting with none is an error."""
    reads = _reads(tree(file)) | _reads_of_the_core()
    for knob in describe(address(file)).knobs:
        assert knob.name in reads, f"{address(file)}: nothing reads {knob.name}"


@cache
def _reads_of_the_core() -> frozenset[str]:
    return frozenset(name for file in core_files() for name in _reads(tree(file)))


def _reads(node: ast.AST) -> set[str]:
    """The attributes that are read below a node, but not where a config checks itself."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
            found.add(child.attr)
        if not (isinstance(child, ast.FunctionDef) and child.name == "__post_init__"):
            found |= _reads(child)
    return found


@PLUGIN_FILES
def test_every_plugin_has_a_test_file_in_the_place_that_mirrors_its_own(file: Path) -> None:
    place = file.relative_to(PLUGINS)
    together = TESTED_TOGETHER.get(place.with_suffix("").as_posix())
    named = place.parent / (together or f"test_{place.name}")
    assert (TESTS / "plugins" / named).exists(), named
    assert not together or place.stem in (TESTS / "plugins" / named).read_text(encoding="utf-8")


@CORE_FILES
def test_every_module_has_a_test_file_in_the_place_that_mirrors_its_own(file: Path) -> None:
    name = module(file)
    place = TESTS / "etude" / file.relative_to(CORE)
    mirror = place.with_name(f"test_{place.name}")
    assert mirror.exists() or (TESTS / TESTED_IN[name]).is_file()


def test_a_plugin_is_named_by_its_path_and_stands_in_a_group_of_the_schema() -> None:
    from etude.experiment import ExperimentConfig

    groups = {*children(ExperimentConfig)}
    for kind in (ArchitectureConfig, *_bases(ArchitectureConfig)):
        groups |= {f"architecture/{name}" for name in children(kind)}
    assert set(registry.groups()) <= groups | {
        "judge",
        "architecture/position/scaling",
        "objective/corruption",
        "objective/masking",
        "layout",
    }
    with pytest.raises(ConfigError):
        registry.find("objective/nothing")


def test_typed_refuses_what_is_no_experiment() -> None:
    with pytest.raises(ConfigError):
        typed(OmegaConf.create({"a": 1}))
