"""A YAML file is refused, by name, if it stands for more than a config can have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.cli.main import main
from etude.config.composition import compose
from etude.config.config_file import load_config
from etude.config.yaml_file import read_yaml
from etude.errors import CheckpointError, ConfigError
from etude.files.seal import write_sealed

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
BOMBS = {
    "aliases of aliases": (LAUGHS, "100,000 values"),
    "merged aliases": (MERGES, "100,000 values"),
    "aliases in depth": (
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100)),
        "64 levels",
    ),
    "an alias in itself": ("a: &a [*a]", "64 levels"),
    "depth": ("a: " + "[" * 50_000, "64 levels"),
    "some depth": ("a: " + "[" * 100 + "]" * 100, "64 levels"),
    "a long file": ("a: b\n" * 300_000, "1,048,576 bytes"),
    "a long number": (f"a: {'9' * 10_000}", "valid YAML"),
    "no UTF-8": ("a: \udcff", "valid YAML"),
}


@pytest.mark.parametrize(("text", "reason"), BOMBS.values(), ids=[*BOMBS])
def test_a_yaml_file_has_limits(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=reason) as failure:
        read_yaml(file)
    assert str(file) in str(failure.value)


def test_aliases_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {b: 1}\nc: [*a, *a]\nd:\n  <<: *a\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": 1}, "c": [{"b": 1}] * 2, "d": {"b": 1}}
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "a.yaml") is None


@pytest.mark.parametrize("name", ["aliases of aliases", "merged aliases", "depth", "a long file"])
def test_the_config_of_a_run_has_limits(name: str, tmp_path: Path) -> None:
    write_sealed(tmp_path / "config.yaml", BOMBS[name][0])
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        load_config(tmp_path)


@pytest.mark.parametrize("name", [name for name in BOMBS if name != "no UTF-8"])
def test_a_preset_has_limits(name: str, more_presets: Callable[[str, str], Path]) -> None:
    file = more_presets("experiment/bomb", f"# @package _global_\n{BOMBS[name][0]}")
    with pytest.raises(ConfigError) as failure:
        compose("train", ["experiment=bomb"])
    assert file.name in str(failure.value) or name == "a long number"


@pytest.fixture
def more_presets(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes presets into `./conf` of a working directory of its own."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize(
    ("preset", "arguments"),
    [
        ("objective/bomb", ["train", "objective=bomb"]),
        ("objective/bomb", ["show", "objective=bomb"]),
        ("pipeline/bomb", ["pipeline", "pipeline=bomb"]),
        ("sweep/bomb", ["train", "-m", "sweep=bomb"]),
    ],
)
def test_a_command_that_reads_a_bomb_ends_with_exit_code_2(
    preset: str,
    arguments: list[str],
    more_presets: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    more_presets(preset, LAUGHS)
    assert main(arguments) == 2
    assert "bomb.yaml" in capsys.readouterr().err
