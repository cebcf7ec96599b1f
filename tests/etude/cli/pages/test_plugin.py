"""A preset is shown as what it comes down to: its stack, its parts, and every value it gives."""

from pathlib import Path

import pytest

from etude.cli.pages.plugin import choice, fits, merged, page
from etude.errors import ConfigError

PRESET = """\
# Infamous 1902: stands on another preset.
defaults:
  - toy_famous
  - override mlp: toy_gelu
  - override position: toy_learned
  - _self_
dim: 64
mlp:
  ratio: 5.0
"""


@pytest.mark.usefixtures("toys")
def test_a_preset_shows_stack_parts_values_and_what_they_were() -> None:
    said = page("architecture", "toy_famous")
    assert "Famous 1901: a stack with another mlp." in said
    assert "stands on architecture=toy_stack  " in said
    assert "provides: NEXT_TOKEN" in said
    assert "architecture/mlp=toy_swiglu  " in said
    assert "architecture.mlp.ratio = 3  (float; default 2.67)" in said
    assert "architecture/position=toy_learned  " in said
    assert "architecture.position.max_positions = 512  (int, null)" in said
    assert "\n    Width of the residual stream" in said
    assert "toy_gelu" not in said


def test_a_preset_on_a_preset_changes_what_the_lower_one_said(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "plugins").symlink_to(toys / "plugins")
    folder = tmp_path / "conf/architecture"
    folder.mkdir()
    for file in (toys / "conf/architecture").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "toy_infamous.yaml").write_text(PRESET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = choice("architecture", "toy_infamous")
    assert found.plugin.address == "architecture/toy_stack"
    assert [file.stem for file in found.presets] == ["toy_infamous", "toy_famous"]
    assert found.parts == {"mlp": "toy_gelu", "position": "toy_learned"}
    assert found.values == {"dim": 64, "mlp": {"ratio": 5.0}}
    assert "architecture.dim = 64  (int; default 128)" in page("architecture", "toy_infamous")


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("address", "fitting"),
    [
        ("objective/toy_next", {"architecture": "toy_stack", "data": "toy_text"}),
        ("objective/toy_reinforce", {"data": "toy_prompts", "reward": "toy_words"}),
        ("architecture/toy_mirror", {"objective": "toy_both"}),
        ("data/toy_preferences", {"objective": "toy_prefer"}),
        ("reward/toy_length", {"objective": "toy_reinforce"}),
    ],
)
def test_what_fits_is_what_would_be_accepted(address: str, fitting: dict[str, str]) -> None:
    group, _, name = address.rpartition("/")
    found = fits(group, choice(group, name).plugin)
    for other, wanted in fitting.items():
        assert any(item.startswith(wanted) for item in found[other])
    assert "toy_next" not in found.get("objective", ())


@pytest.mark.usefixtures("toys")
def test_knobs_of_which_there_are_many_are_named_by_their_plugin() -> None:
    assert "reward.toy_length.target = 10  (int)" in page("reward", "toy_length")


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        page("objective", "nothing")


def test_the_upper_table_wins_at_every_depth() -> None:
    assert merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "e": 5}) == {
        "a": 1,
        "b": {"c": 4, "d": 3},
        "e": 5,
    }
