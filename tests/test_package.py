"""The wheel is complete: installed in a new environment, it lists, shows and trains."""

import os
import pty
import select
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "data=text", "data.path=text.txt", "tokenizer=byte", "architecture.dim=16",
    "architecture.n_layers=1", "architecture.n_heads=2", "data.seq_len=32",
    "trainer.global_batch=4", "trainer.max_steps=1", "trainer.val_samples=4", "logger=[]",
    "trainer.accelerator=cpu", "run=a",
)  # fmt: skip


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command, run without Python settings of this checkout."""
    environment = {k: value for k, value in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `etude` of a wheel in a new environment, which uses the libraries of this one."""
    place = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--no-deps", "--quiet", "-w", place, ROOT)
    run(sys.executable, *build, cwd=place)
    (wheel,) = place.glob("etude-*.whl")
    venv.create(place / "env", with_pip=False)
    python = place / "env/bin/python"
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=place))
    site = Path(str(site).strip())
    installs = ("-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel)
    run(sys.executable, *installs, cwd=place)
    libraries = sysconfig.get_paths()["purelib"]
    (site / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return place / "env/bin/etude"


def assert_works(etude: str | Path, folder: Path) -> None:
    """`etude` lists, shows and trains one step in an empty folder."""
    folder.mkdir()
    assert "clm" in run(etude, "list", "objective", cwd=folder)
    shown = run(etude, "show", "objective=dpo", cwd=folder)
    assert "objective.beta = 0.1  (float)" in shown
    assert "llama" in run(etude, "list", "architecture", cwd=folder)
    assert not list(folder.iterdir())
    text = "\n\n".join(f"The quick brown fox {i} jumps over the lazy dog." * 9 for i in range(99))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    out = run(etude, "train", *SMALL, cwd=folder)
    assert Path(out.splitlines()[-1]) == folder / "a"
    search = ("-m", "sweep=lr", "hydra.sweeper.n_trials=1", "run=search")
    run(etude, "train", *SMALL, *search, cwd=folder)
    assert "@package _global_" in (folder / "search/best.yaml").read_text()


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    module = run(
        installed.with_name("python"), "-c", "import etude; print(etude.__file__)", cwd=tmp_path
    )
    assert Path(module.strip()).is_relative_to(installed.parents[1])
    assert str(ROOT) not in run(installed, "show", "objective=dpo", cwd=tmp_path)
    assert_works(installed, tmp_path / "empty")


@pytest.mark.slow
def test_the_checkout_works_from_any_folder(tmp_path: Path) -> None:
    assert_works(Path(sys.executable).with_name("etude"), tmp_path / "empty")


def pip(python: Path, *arguments: str | Path, cwd: Path) -> str:
    """The output of pip in the environment of `python`."""
    return run(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=cwd)


def install_package(etude: Path, name: str, folder: Path, prefix: str = "") -> None:
    """Creates a package with `etude new package`, builds its wheel and installs it.

    `prefix` is inserted at the start of its plugin, to break it.
    """
    run(etude, "new", "package", name, cwd=folder)
    plugin = folder / name / "src" / name / "objective" / f"{name}.py"
    plugin.write_text(prefix + plugin.read_text(encoding="utf-8"), encoding="utf-8")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", *build, "-w", folder, folder / name, cwd=folder)
    (wheel,) = folder.glob(f"{name}-*.whl")
    assert f"{name}/objective/_{name}_loss.py" in ZipFile(wheel).namelist()  # its private module
    install = ("install", "--no-deps", "--no-index", "--quiet", wheel)
    pip(etude.with_name("python"), *install, cwd=folder)


@pytest.mark.slow
@pytest.mark.proof
def test_a_package_of_plugins_can_be_installed_and_removed_and_a_broken_one_harms_no_other(
    installed: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    install_package(installed, "orchard", tmp_path)
    install_package(installed, "thistle", tmp_path, "def (:\n")
    install_package(installed, "bramble", tmp_path, "import nothing_there\n")
    listed = run(installed, "list", "objective", cwd=elsewhere)
    assert "  orchard " in listed
    assert "thistle.py:1 is not valid Python" in listed
    assert "objective.gamma = 2  (float)" in run(
        installed, "show", "objective=orchard", cwd=elsewhere
    )
    composed = run(installed, "train", "objective=orchard", "--cfg", "job", cwd=elsewhere)
    assert "gamma: 2.0" in composed
    assert run(installed, "check", "objective=orchard", cwd=elsewhere).endswith("every law holds\n")
    for name, reason in (
        ("thistle", "is not valid Python"),
        ("bramble", "No module named 'nothing_t"),
    ):
        command = [installed, "check", f"objective={name}"]
        process = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
        assert process.returncode == 2
        assert reason in process.stderr
        assert f"{name}.py" in process.stderr
    uninstall = ("uninstall", "--yes", "--quiet", "orchard", "thistle", "bramble")
    pip(installed.with_name("python"), *uninstall, cwd=elsewhere)
    listed = run(installed, "list", "objective", cwd=elsewhere)
    assert not {"orchard", "thistle", "bramble"} & set(listed.split())


@pytest.mark.slow
def test_bash_completes_verbs_options_and_keys_with_the_completion_script(
    tmp_path: Path,
) -> None:
    folder = Path(sys.executable).parent
    rules = tmp_path / "bashrc"
    rules.write_text(run(folder / "etude", "-sc", "install=bash", cwd=tmp_path), encoding="utf-8")
    for typed, completed in (
        ("etude tra", "etude train"),
        ("etude train objective=grp", "etude train objective=grpo"),
        ("etude check objective=dpo objective.bet", "objective.beta="),
    ):
        assert completed in press_tab(typed, rules)


def press_tab(typed: str, rules: Path) -> str:
    """The screen of an interactive bash after a line and the tab key were typed."""
    child, terminal = pty.fork()
    if child == 0:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvpe("bash", ["bash", "--rcfile", str(rules), "-i"], {**os.environ, "PATH": path})
    shown, typed_at, quiet_s = "", 0.0, 20.0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([terminal], [], [], quiet_s)[0]:
        shown += os.read(terminal, 4096).decode(errors="replace")
        if not typed_at:
            os.write(terminal, f"{typed}\t".encode())
            typed_at = time.monotonic()
        elif shown.count(typed) and not shown.rstrip().endswith(typed):
            break
    os.close(terminal)
    os.waitpid(child, 0)
    return shown
