"""`etude new` creates plugins that follow the rules of shipped plugins and pass their tests."""

import compileall
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import PUBLIC

import etude.plugins
from etude.cli.main import main
from etude.cli.verbs import new
from etude.cli.verbs.new import PACKAGE, SHAPE, files_of_package, files_of_plugin, shapes, templates
from etude.config.plugin_files import source_files
from etude.config.plugin_source import describe
from etude.config.registry import load

GROUPS = [group for group, file in templates().items() if file.suffix == ".py"]
SHAPES = [("objective", shape) for shape in shapes("objective")]
PRESETS = [group for group, file in templates().items() if file.suffix == ".yaml"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project."""
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    return tmp_path


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("group", "shape"), [*((group, SHAPE) for group in GROUPS), *SHAPES])
def test_a_plugin_from_a_template_follows_the_rules_of_shipped_plugins(
    group: str, shape: str
) -> None:
    name = f"of_mine_{shape}_{group.replace('/', '_')}"  # unique: imported modules stay loaded
    assert main(["new", group, name, f"shape={shape}"]) == 0
    file = Path("plugins", group, f"{name}.py")
    text = file.read_text(encoding="utf-8")
    assert "sketch" not in text.lower()
    assert len(text.splitlines()) <= 100
    assert {*re.findall(r"^from (etude[.\w]*) import", text, re.MULTILINE)} <= PUBLIC
    description = describe(f"{group}/{name}")
    assert description.summary.endswith(".")
    assert all(knob.help or knob.group for knob in description.knobs)
    loaded = load(f"{group}/{name}")
    own = loaded.config.__annotations__
    assert own or group in ("layout", "data/record"), "a template has at least one knob"
    assert loaded.address == f"{group}/{name}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("objective", "etude new takes a group and a name"),
        ("objectiv mine", "Templates: adapter, architecture,"),
        ("objective clm", "objective=clm already exists: "),
        ("objective 2nd", "2nd is not a valid plugin name"),
        ("objective class", "class is not a valid plugin name"),
        ("objective for_me", "for_me is a reserved name"),
        ("objective masking", "masking is a reserved name"),
        (
            "objective text",
            "the template imports something called Text.\n  Choose another name, such as my_text.",
        ),
        ("objective mine shape=preferense", "Did you mean shape=preference?\n  Shapes: text, lab"),
        ("data mine shape=preference", "data has no such shape.\n  Shapes: none."),
        ("package torch", "A package named torch is installed."),
        ("architecture llama", "architecture=llama already exists: "),
    ],
)
def test_an_invalid_name_is_refused_and_nothing_is_written(
    project: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(project.rglob("*")) == [project / "plugins"]


def test_existing_files_are_not_overwritten(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = project / "tests/test_objective_own.py"
    test.parent.mkdir()
    test.write_text("mine", encoding="utf-8")
    assert main(["new", "objective", "own"]) == 2
    assert "tests/test_objective_own.py already exists" in capsys.readouterr().err
    assert test.read_text(encoding="utf-8") == "mine"
    assert not (project / "plugins/objective").exists()


def test_objectives_have_four_shapes() -> None:
    assert sorted([SHAPE, *shapes("objective")]) == ["labelled", "on_policy", "preference", "text"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("group", PRESETS)
def test_a_new_preset_or_recipe_is_listed_and_shown(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", group, "of_mine"]) == 0
    assert Path(f"conf/{group}/of_mine.yaml").is_file()
    assert main(["list", group]) == 0
    assert "of_mine" in capsys.readouterr().out
    assert main(["show", f"{group}=of_mine"]) == 0


@pytest.mark.slow
@pytest.mark.proof
def test_a_new_plugin_passes_its_tests_in_an_empty_folder(tmp_path: Path) -> None:
    for group in templates():
        if group != PACKAGE:
            assert_files(tmp_path, group, "peach")
    for group, shape in SHAPES:
        assert_files(tmp_path, group, f"peach_{shape}", f"shape={shape}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def assert_files(project: Path, group: str, name: str, *shape: str) -> None:
    command = [sys.executable, "-m", "etude", "new", group, name, *shape]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert all((project / file).is_file() for file in files)
    assert set(files) == set(files_of_plugin(group, name))


def test_a_package_contains_a_plugin_a_private_module_a_test_and_an_entry_point() -> None:
    files = files_of_package("peach")
    assert sorted(map(str, files)) == [
        "peach/README.md",
        "peach/pyproject.toml",
        "peach/src/peach/conf/experiment/peach.yaml",
        "peach/src/peach/objective/_peach_loss.py",
        "peach/src/peach/objective/peach.py",
        "peach/tests/test_objective_peach.py",
    ]
    assert '"etude.plugins"]\npeach = "peach"' in files[Path("peach/pyproject.toml")]
    assert not [file for file, text in files.items() if "sketch" in text.lower()]


def test_the_plugin_of_a_package_loads_its_private_module_and_its_digest_includes_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["new", "package", "plum"]) == 0
    monkeypatch.setenv(etude.plugins.VARIABLE, str(project / "plum/src/plum"))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    loaded = load("objective/plum")
    assert [file.name for file in source_files(loaded.file)] == ["plum.py", "_plum_loss.py"]
    assert main(["train", "--cfg", "job", "experiment=plum", "architecture.dim=16"]) == 0


def test_compiled_files_in_the_template_folders_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(templates()), list(files_of_package("peach"))
    kit = tmp_path / "kit"
    shutil.copytree(new.KIT, kit)
    assert compileall.compile_dir(kit, quiet=1)
    monkeypatch.setattr(new, "KIT", kit)
    assert (list(templates()), list(files_of_package("peach"))) == before
