"""Every preset composes, every recipe trains two steps, and both say what they are for."""

from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.plugin_files import options
from etude.config.plugin_source import heading, stands_on
from etude.config.registry import plugin_of

CONF = Path(__file__).resolve().parents[1] / "conf"
PRESETS = sorted(CONF.glob("architecture/*.yaml"))
RECIPES = sorted(CONF.glob("experiment/*.yaml"))
SHRUNK = (
    "architecture.dim=16", "architecture.n_layers=1", "architecture.n_heads=2", "data.seq_len=64",
    "trainer.max_steps=2", "trainer.global_batch=8", "trainer.micro_batch=null",
    "trainer.val_samples=4", "trainer.accelerator=cpu", "logger=[]",
)  # fmt: skip
TEXT = CONF.parent / "README.md"
"""For the recipes that name no text of their own."""
SAID = ("purpose:", "result:", "cost:")


def header(file: Path) -> str:
    """The comment a YAML file opens with."""
    lines = file.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.lstrip("# ") for line in lines[:end] if "@package" not in line)


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_composes_at_any_size_and_says_whose_it_is(file: Path) -> None:
    assert stands_on(file) in options("architecture")
    assert "19" in header(file) or "20" in header(file), "a year, with the authors"
    assert heading(file)
    sizes = ["architecture.dim=48", "architecture.n_layers=3", "architecture.n_heads=6"]
    config = to_experiment(
        compose("train", [f"architecture={file.stem}", *sizes]).config
    ).architecture
    assert (config.dim, config.n_layers, config.n_heads) == (48, 3, 6)


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_ships_without_dropout(file: Path) -> None:
    assert (
        to_experiment(compose("train", [f"architecture={file.stem}"]).config).architecture.dropout
        == 0
    )


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_says_its_purpose_its_result_and_its_cost(file: Path) -> None:
    said = header(file).lower()
    assert not [word for word in SAID if word not in said]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that those of later stages start from."""
    run = tmp_path_factory.mktemp("base") / "run"
    given = ["tokenizer=byte", "data=text", f"data.path={TEXT}", *SHRUNK, f"run={run}"]
    assert main(["train", *given]) == 0
    return run


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_trains_two_shrunken_steps(
    file: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said, text = header(file), file.read_text(encoding="utf-8")
    path = tiny.write_preferences(tmp_path) if "jsonl_preferences" in text else TEXT
    needs = [f"data.path={path}"] if "data.path" in said else []
    if "init_from" in said:
        needs += [f"init_from={base}"]
    elif "tokenizer:" not in text:
        needs += ["tokenizer=byte"]
    if "reward.model.run" in said:
        pairs = ("data=jsonl_preferences", f"data.path={tiny.write_preferences(tmp_path)}")
        judge = ["train", "objective=reward", f"init_from={base}", *pairs, *SHRUNK, "run=judge"]
        assert main(judge) == 0
        needs += ["reward.model.run=judge"]
    assert main(["train", f"experiment={file.stem}", *SHRUNK, *needs, "run=a"]) == 0
    assert len((tmp_path / "a/steps.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_defaults_of_the_main_command_compose() -> None:
    config = to_experiment(compose("train", []).config)
    assert config.optimizer.lr == 1e-3


SLOTS = ("block", "mixer", "mlp", "norm", "position")


@pytest.mark.parametrize(
    ("preset", "slot"),
    [
        pytest.param(file.stem, slot, marks=[] if (i + j) % len(SLOTS) == 0 else pytest.mark.slow)
        for i, file in enumerate(PRESETS)
        for j, slot in enumerate(SLOTS)
    ],
)
def test_any_part_of_a_preset_can_be_swapped(preset: str, slot: str) -> None:
    for name in options(f"architecture/{slot}"):
        chosen = [f"architecture={preset}", f"architecture/{slot}={name}"]
        config = to_experiment(compose("train", [*chosen, "trainer.max_steps=1"]).config)
        assert plugin_of(getattr(config.architecture, slot)).address.endswith(f"/{name}")
