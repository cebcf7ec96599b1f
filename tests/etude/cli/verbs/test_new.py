"""`etude new`: every template is a plugin by the rules of those that ship, and green at once."""

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
from etude.cli.verbs.new import PACKAGE, of_package, of_plugin, templates
from etude.config.plugin_files import source_files
from etude.config.plugin_source import describe
from etude.config.registry import load

GROUPS = [group for group, file in templates().items() if file.suffix == ".py"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project."""
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("group", GROUPS)
def test_a_template_becomes_a_plugin_by_the_rules_of_those_that_ship(group: str) -> None:
    name = f"of_mine_{group.replace('/', '_')}"  # a name of its own: what is imported stays so
    assert main(["new", group, name]) == 0
    file = Path("plugins", group, f"{name}.py")
    text = file.read_text(encoding="utf-8")
    assert "sketch" not in text.lower()
    assert len(text.splitlines()) <= 100
    assert {*re.findall(r"^from (etude[.\w]*) import", text, re.MULTILINE)} <= PUBLIC
    described = describe(f"{group}/{name}")
    assert described.summary.endswith(".")
    assert all(knob.help or knob.group for knob in described.knobs)
    loaded = load(f"{group}/{name}")
    own = loaded.config.__annotations__
    assert own, "a template shows at least one knob of its own"
    assert loaded.address == f"{group}/{name}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("objective", "etude new takes a group and a name"),
        ("objectiv mine", "There are templates of: adapter, architecture,"),
        ("objective clm", "objective=clm exists already: "),
        ("objective 2nd", "2nd cannot name a plugin"),
        ("objective class", "class cannot name a plugin"),
        ("objective for_me", "for_me means something else"),
        ("objective masking", "masking means something else"),
        ("objective text", "the template uses Text for something else.\n  text_of_mine would do."),
        ("package torch", "A package torch can be imported already."),
        ("architecture llama", "architecture=llama exists already: "),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(
    place: Path, given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *given.split()]) == 2
    assert said in capsys.readouterr().err
    assert list(place.rglob("*")) == [place / "plugins"]


def test_nothing_is_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = place / "tests/test_objective_own.py"
    test.parent.mkdir()
    test.write_text("mine", encoding="utf-8")
    assert main(["new", "objective", "own"]) == 2
    assert "tests/test_objective_own.py exists already" in capsys.readouterr().err
    assert test.read_text(encoding="utf-8") == "mine"
    assert not (place / "plugins/objective").exists()


@pytest.mark.slow
@pytest.mark.proof
def test_what_is_written_passes_its_own_tests_in_an_empty_folder(tmp_path: Path) -> None:
    for group in templates():
        if group != PACKAGE:
            assert_written(tmp_path, group, "peach")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def assert_written(place: Path, group: str, name: str) -> None:
    command = [sys.executable, "-m", "etude", "new", group, name]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert all((place / file).is_file() for file in files)
    assert set(files) == set(of_plugin(group, name))


def test_a_package_has_the_plugin_its_private_module_its_test_and_the_entry_point() -> None:
    files = of_package("peach")
    assert sorted(map(str, files)) == [
        "peach/README.md",
        "peach/pyproject.toml",
        "peach/src/peach/objective/_peach_loss.py",
        "peach/src/peach/objective/peach.py",
        "peach/tests/test_objective_peach.py",
    ]
    assert '"etude.plugins"]\npeach = "peach"' in files[Path("peach/pyproject.toml")]
    assert not [file for file, text in files.items() if "sketch" in text.lower()]


def test_the_plugin_of_a_package_loads_with_its_private_module_which_its_digest_covers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["new", "package", "plum"]) == 0
    monkeypatch.setenv(etude.plugins.VARIABLE, str(place / "plum/src/plum"))
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    loaded = load("objective/plum")
    assert [file.name for file in source_files(loaded.file)] == ["plum.py", "_plum_loss.py"]


def test_compiled_files_beside_the_templates_are_no_templates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(templates()), list(of_package("peach"))
    kit = tmp_path / "kit"
    shutil.copytree(new.KIT, kit)
    assert compileall.compile_dir(kit, quiet=1)
    monkeypatch.setattr(new, "KIT", kit)
    assert (list(templates()), list(of_package("peach"))) == before
