"""What the documents tell a reader to do works: every file as printed, every command as written."""

import re
import shlex
from pathlib import Path

import pytest
import tiny

import etude.plugins
from etude.cli.main import main
from etude.config.plugin_source import describe
from etude.config.registry import load

ROOT = Path(__file__).resolve().parents[1]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w./]+\.(?:py|csv))`")
SHORT = (
    "trainer.max_steps=2", "trainer.global_batch=8", "trainer.val_samples=2",
    "trainer.accelerator=cpu", "logger=[]",
)  # fmt: skip
FEW = ("reward=length", "reward.length.target=9", "n_prompts=40", "max_new_tokens=8")
SMALL = ("architecture.dim=16", "architecture.n_layers=1", "architecture.n_heads=2")
GUIDE = ROOT / "docs/adding-a-plugin.md"
README = ROOT / "README.md"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    found = FENCED.finditer(page.read_text(encoding="utf-8"))
    return [match[2] for match in found if match[1] == language]


def files(page: Path) -> dict[str, str]:
    """The fenced blocks below a paragraph that names the file to put them in."""
    text = page.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for match in FENCED.finditer(text):
        paragraph = text[: match.start()].rstrip().rpartition("\n\n")[2]
        names = NAMED.findall(paragraph)
        if match[1] in ("python", "text") and names:
            found[names[-1]] = match[2]
    return found


def plugins(page: Path) -> dict[str, str]:
    """The files of a page that are plugins."""
    everything = {name: text for name, text in files(page).items() if name.endswith(".py")}
    return {name.rpartition("plugins/")[2]: text for name, text in everything.items()}


def commands(page: Path) -> list[str]:
    """The lines of a page that call the command."""
    lines = "".join(blocks(page, "bash")).splitlines()
    return [line for line in lines if line.startswith("etude ")]


def shrunk(line: str) -> list[str]:
    """The arguments of a line; training is made short and small, as far as the line lets it be."""
    _, verb, *given = shlex.split(line, comments=True)
    if verb == "label":  # by a reward in which the answers of an untrained network differ
        given = [*(item for item in given if not item.startswith("reward=")), *FEW]
    if verb == "pipeline":
        given += ["--cfg", "job"]
    if verb in ("train", "inspect") and "--cfg" not in given:
        given += SHORT
        if not any(item.startswith("init_from=") for item in given):
            given += SMALL
            given += [] if any("tokenizer" in item for item in given) else ["tokenizer=byte"]
    return [verb, *given]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file of both pages in it."""
    for page in (GUIDE, README):
        for name, text in files(page).items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(etude.plugins, "__path__", etude.plugins.folders())
    return tmp_path


def test_the_guide_has_an_example_of_each_kind_that_people_add() -> None:
    groups = {name.partition("/")[0] for name in plugins(GUIDE)}
    assert groups == {"objective", "architecture", "reward", "data"}
    assert list(plugins(README)) == ["objective/focal.py"]


@pytest.mark.parametrize("name", [*plugins(GUIDE), *plugins(README)])
@pytest.mark.usefixtures("place")
def test_an_example_keeps_the_rules_of_those_that_ship(name: str) -> None:
    address = name.removesuffix(".py")
    described = describe(address)
    assert described.summary.endswith(".")
    assert all(knob.help or knob.group for knob in described.knobs)
    assert load(address).address == address


def slow_if_tried(line: str) -> object:
    """The laws of what is trained take runs."""
    takes_runs = line.startswith(("etude check objective", "etude check architecture"))
    return pytest.param(line, marks=pytest.mark.slow) if takes_runs else line


@pytest.mark.parametrize("line", [slow_if_tried(line) for line in commands(GUIDE)])
def test_a_command_of_the_guide_works(line: str, place: Path) -> None:
    arguments = shrunk(line)
    if line == "etude check objective=my_loss":  # after the line that makes it
        assert main(["new", "objective", "my_loss"]) == 0
    run = [f"run={place / 'run'}"] if arguments[0] == "train" else []
    assert main([*arguments, *run]) == 0
    assert not run or len(tiny.record_of(place / "run")) == 2


@pytest.mark.usefixtures("place")
def test_the_example_of_the_readme_trains(place: Path) -> None:
    assert main(shrunk("etude train objective=focal tokenizer=byte run=run")) == 0
    assert len(tiny.record_of(place / "run")) == 2


@pytest.mark.slow
def test_the_tour_of_the_readme_works_from_its_first_line_to_its_last(place: Path) -> None:
    """In order, in one folder: later lines start from the runs of earlier ones."""
    import hugging_face  # slow to load, and needed here only
    from transformers import LlamaConfig, LlamaForCausalLM

    book = "\n\n".join(f"Chapter {number}. " + f"It was {number}. " * 200 for number in range(12))
    (place / "my book.txt").write_text(book, encoding="utf-8")
    (place / "notes").mkdir()
    (place / "notes/one.txt").write_text(book, encoding="utf-8")
    config = LlamaConfig(
        vocab_size=tiny.BYTES.vocab.size, hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    hugging_face.saved(LlamaForCausalLM(config), place / "models/SmolLM2-135M")
    rows = [f'{{"body": "{number} is a number"}}' for number in range(40)]
    (place / "corpus.jsonl").write_text("\n".join(rows), encoding="utf-8")
    for line in commands(README):
        assert main(shrunk(line)) == 0, line
