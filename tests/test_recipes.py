"""Every preset composes, every recipe trains two steps, and both have the required header."""

from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.plugin_files import options
from etude.config.plugin_source import base_option, heading
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
"""The text for recipes that set no data.path."""
HEADINGS = ("purpose:", "result:", "cost:")


def header(file: Path) -> str:
    """The header comment of a YAML file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.lstrip("# ") for line in lines[:end] if "@package" not in line)


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_composes_at_any_size_and_cites_its_source(file: Path) -> None:
    assert base_option(file) in options("architecture")
    assert "19" in header(file) or "20" in header(file), "the header needs authors and a year"
    assert heading(file)
    sizes = ["architecture.dim=48", "architecture.n_layers=3", "architecture.n_heads=6"]
    config = to_experiment(
        compose("train", [f"architecture={file.stem}", *sizes]).config
    ).architecture
    assert (config.dim, config.n_layers, config.n_heads) == (48, 3, 6)


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_has_no_dropout(file: Path) -> None:
    assert (
        to_experiment(compose("train", [f"architecture={file.stem}"]).config).architecture.dropout
        == 0
    )


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_states_its_purpose_result_and_cost(file: Path) -> None:
    text = header(file).lower()
    assert not [word for word in HEADINGS if word not in text]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that recipes of later stages start from."""
    run = tmp_path_factory.mktemp("base") / "run"
    arguments = ["tokenizer=byte", "data=text", f"data.path={TEXT}", *SHRUNK, f"run={run}"]
    assert main(["train", *arguments]) == 0
    return run


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_trains_two_steps_at_a_small_size(
    file: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    comment, text = header(file), file.read_text(encoding="utf-8")
    path = tiny.write_preferences(tmp_path) if "jsonl_preferences" in text else TEXT
    overrides = [f"data.path={path}"] if "data.path" in comment else []
    if "init_from" in comment:
        overrides += [f"init_from={base}"]
    elif "tokenizer:" not in text:
        overrides += ["tokenizer=byte"]
    if "reward.model.run" in comment:
        pairs = ("data=jsonl_preferences", f"data.path={tiny.write_preferences(tmp_path)}")
        command = ["train", "objective=reward", f"init_from={base}", *pairs, *SHRUNK, "run=reward"]
        assert main(command) == 0
        overrides += ["reward.model.run=reward"]
    assert main(["train", f"experiment={file.stem}", *SHRUNK, *overrides, "run=a"]) == 0
    assert len((tmp_path / "a/steps.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_defaults_of_etude_train_compose() -> None:
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
        overrides = [f"architecture={preset}", f"architecture/{slot}={name}"]
        config = to_experiment(compose("train", [*overrides, "trainer.max_steps=1"]).config)
        assert plugin_of(getattr(config.architecture, slot)).address.endswith(f"/{name}")
