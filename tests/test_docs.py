"""The documents are correct: their files and commands work, and they match the code.

That includes the list of modules, the files and names of the reading paths, and the glossary.
"""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import rooms
import tiny
from documents import DATA, FENCED, GUIDE, README, ROOT, blocks
from rooms import PUBLIC, ROOMS

import etude.plugins
from etude.cli.main import main
from etude.config.plugin_files import source_files
from etude.config.plugin_source import describe
from etude.config.registry import load
from etude.experiments import stage

FILE_NAME = re.compile(r"`([\w./]+\.(?:py|csv|jsonl|conll))`")
SHORT = (
    "trainer.max_steps=2", "trainer.global_batch=8", "trainer.val_samples=2",
    "trainer.accelerator=cpu", "logger=[]",
)  # fmt: skip
FEW = ("reward=length", "reward.length.target=9", "n_prompts=40", "max_new_tokens=8")
HYBRID = {"architecture=qwen3_next", "architecture/mixer=hybrid"}
"""Choices with two kinds of layer, of which every fourth is the other."""
SMALL = ("architecture.dim=16", "architecture.n_layers=1", "architecture.n_heads=2")
READING = ROOT / "docs/reading.md"
STEP = re.compile(r"^\d+\. \[([\w/.]+)\]\(\.\./\1\): (.*)$", re.MULTILINE)
N_FILES = (6, 7, 9, 10, 8, 7)
"""The most files that each reading path may have, in the order of the page."""
ENTRY = ROOT / "src/etude/cli/verbs/train.py"
"""The file that `etude train` imports by the name of its verb."""


def files(page: Path) -> dict[str, str]:
    """The fenced blocks that follow a paragraph with the name of their file, by that name."""
    text = page.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for match in FENCED.finditer(text):
        paragraph = text[: match.start()].rstrip().rpartition("\n\n")[2]
        names = FILE_NAME.findall(paragraph)
        if match[1] in ("python", "text") and names:
            found[names[-1]] = match[2]
    return found


def plugins(page: Path) -> dict[str, str]:
    """The files of a page that are plugins, by path."""
    modules = {name: text for name, text in files(page).items() if name.endswith(".py")}
    return {name.rpartition("plugins/")[2]: text for name, text in modules.items()}


def commands(page: Path) -> list[str]:
    """The lines of a page that call `etude`."""
    lines = "".join(blocks(page, "bash")).splitlines()
    return [line for line in lines if line.startswith("etude ")]


def shrunk(line: str) -> list[str]:
    """The arguments of a command, with overrides that make training short and small."""
    _, verb, *arguments = shlex.split(line, comments=True)
    if verb == "label":  # with a reward that differs between answers of an untrained network
        arguments = [*(item for item in arguments if not item.startswith("reward=")), *FEW]
    if verb == "pipeline":
        arguments += ["--cfg", "job"]
    is_evaluation = any(item.startswith("task=") for item in arguments)
    if verb in ("train", "inspect") and "--cfg" not in arguments and not is_evaluation:
        arguments += SHORT
        if not any(item.startswith("init_from=") for item in arguments):
            arguments += SMALL
            arguments += ["architecture.n_layers=4"] if HYBRID & {*arguments} else []
            arguments += [] if any("tokenizer" in a for a in arguments) else ["tokenizer=byte"]
    return [verb, *arguments]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with every file of the pages."""
    for page in (GUIDE, README, DATA):
        for name, text in files(page).items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    return tmp_path


def test_the_guide_has_an_example_of_each_common_kind_of_plugin() -> None:
    groups = {name.partition("/")[0] for name in plugins(GUIDE)}
    assert groups == {"objective", "architecture", "reward", "data", "callback"}
    assert list(plugins(README)) == ["objective/focal.py"]


@pytest.mark.parametrize("name", [*plugins(GUIDE), *plugins(README)])
@pytest.mark.usefixtures("place")
def test_an_example_follows_the_rules_for_shipped_plugins(name: str) -> None:
    address = name.removesuffix(".py")
    described = describe(address)
    text = described.file.read_text(encoding="utf-8")
    assert {*re.findall(r"^from (etude[.\w]*) import", text, re.MULTILINE)} <= PUBLIC
    assert described.summary.endswith(".")
    assert all(knob.help or knob.group for knob in described.knobs)
    assert load(address).address == address


def slow_if_it_trains(line: str) -> object:
    """A command as a parameter; checking objectives and architectures takes runs, so it is slow."""
    takes_runs = line.startswith(("etude check objective", "etude check architecture"))
    return pytest.param(line, marks=pytest.mark.slow) if takes_runs else line


@pytest.mark.parametrize("line", [slow_if_it_trains(line) for line in commands(GUIDE)])
def test_a_command_of_the_guide_works(line: str, place: Path) -> None:
    arguments = shrunk(line)
    if line == "etude check objective=my_loss":  # it needs the plugin of an earlier line
        assert main(["new", "objective", "my_loss"]) == 0
    run = [f"run={place / 'run'}"] if arguments[0] == "train" else []
    assert main([*arguments, *run]) == 0
    assert not run or len(tiny.untimed_steps(place / "run")) == 2


@pytest.mark.parametrize("line", commands(DATA))
@pytest.mark.usefixtures("place")
def test_a_command_of_the_page_on_data_works(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)[1:]) == 0
    assert "bad rows" not in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_the_plugin_of_the_readme_trains(place: Path) -> None:
    assert main(shrunk("etude train objective=focal tokenizer=byte run=run")) == 0
    assert len(tiny.untimed_steps(place / "run")) == 2


@pytest.mark.slow
def test_every_command_of_the_readme_works(place: Path) -> None:
    """In order and in one folder, because later commands use the runs of earlier ones."""
    import parity  # slow to load, and needed only here
    from transformers import LlamaConfig, LlamaForCausalLM

    book = "\n\n".join(f"Chapter {number}. " + f"It was {number}. " * 200 for number in range(12))
    (place / "my book.txt").write_text(book, encoding="utf-8")
    (place / "notes").mkdir()
    (place / "notes/one.txt").write_text(book, encoding="utf-8")
    config = LlamaConfig(
        vocab_size=tiny.BYTES.vocab.size, hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    parity.save_model(LlamaForCausalLM(config), place / "models/SmolLM2-135M")
    rows = [f'{{"body": "{number} is a number"}}' for number in range(40)]
    (place / "corpus.jsonl").write_text("\n".join(rows), encoding="utf-8")
    for line in commands(README):
        assert main(shrunk(line)) == 0, line


def test_the_list_of_modules_matches_the_folders() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page == rooms.with_modules(page), "stale: run `make docs`"


def test_the_table_of_rooms_lists_each_room_in_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", rooms.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row for row in rows if row in ROOMS] == list(ROOMS)


def paths() -> dict[str, list[tuple[Path, str]]]:
    """The reading paths by heading: each file, with the page's description of it."""
    _, *parts = READING.read_text(encoding="utf-8").split("\n## ")
    return {
        part.partition("\n")[0]: [(ROOT / step[1], step[2]) for step in STEP.finditer(part)]
        for part in parts
    }


def imports_of(file: Path) -> set[Path]:
    """The files that a file imports, directly or indirectly; a face stands for what it names."""
    found = {file}
    queue = [file]
    while queue:
        new = direct_imports(queue.pop()) - found
        found |= new
        queue += new
    return found


@cache
def direct_imports(file: Path) -> frozenset[Path]:
    return frozenset([*stage._imported_modules(file), *source_files(file)])


def test_the_reading_paths_are_short_and_every_numbered_line_names_a_file() -> None:
    numbered = re.findall(r"^\d+\. ", READING.read_text(encoding="utf-8"), re.MULTILINE)
    lengths = list(map(len, paths().values()))
    assert len(numbered) == sum(lengths)
    assert all(n <= most for n, most in zip(lengths, N_FILES, strict=True))


@pytest.mark.parametrize("path", paths().values(), ids=list(paths()))
def test_a_reading_path_follows_imports_and_its_names_exist(
    path: list[tuple[Path, str]],
) -> None:
    known = {ENTRY}
    for number, (file, description) in enumerate(path):
        assert number == 0 or file in known, f"no earlier file imports {file.name}"
        known |= imports_of(file)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = {*re.findall(r"`(.+?)`", description)}
        missing = names - {n.name for n in nodes if isinstance(n, kinds)}
        assert not missing, f"{file.name} has no {', '.join(missing)}"


def test_the_page_on_test_helpers_lists_every_module() -> None:
    support = ROOT / "tests/support"
    listed = re.findall(r"^- `(\w+)`: ", (support / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(file.stem for file in support.glob("*.py"))


def test_every_name_of_the_glossary_exists_in_the_file_it_cites() -> None:
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"\| `([\w./]+\.py)` `(\w+)` \|$", page, re.MULTILINE)
    assert len(entries) == page.count("\n|") - 2
    for place, name in entries:
        tree = ast.parse((ROOT / place).read_text(encoding="utf-8"))
        known = {getattr(node, "name", None) for node in tree.body}
        known |= {ast.unparse(t) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets}
        assert name in known, f"{place} has no {name}"
