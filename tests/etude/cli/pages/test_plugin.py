"""The page of a preset shows its base plugin, its parts and every value it sets."""

from pathlib import Path

import pytest

from etude.cli.pages.plugin import choice, compatible, merge, page
from etude.errors import ConfigError

PRESET = """\
# Infamous 1902: based on another preset.
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
def test_a_preset_page_shows_base_parts_values_and_defaults() -> None:
    text = page("architecture", "toy_famous")
    assert "Famous 1901: a stack with another mlp." in text
    assert "based on architecture=toy_stack  " in text
    assert "provides: NEXT_TOKEN" in text
    assert "architecture/mlp=toy_swiglu  " in text
    assert "architecture.mlp.ratio = 3  (float; default 2.67)" in text
    assert "architecture/position=toy_learned  " in text
    assert "architecture.position.max_positions = 512  (int, null)" in text
    assert "\n    Width of the residual stream" in text
    assert "toy_gelu" not in text


def test_a_preset_based_on_a_preset_overrides_it(
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
    chosen = choice("architecture", "toy_infamous")
    assert chosen.plugin.address == "architecture/toy_stack"
    assert [file.stem for file in chosen.presets] == ["toy_infamous", "toy_famous"]
    assert chosen.parts == {"mlp": "toy_gelu", "position": "toy_learned"}
    assert chosen.values == {"dim": 64, "mlp": {"ratio": 5.0}}
    assert "architecture.dim = 64  (int; default 128)" in page("architecture", "toy_infamous")


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("objective/toy_next", {"architecture": "toy_stack", "data": "toy_text"}),
        ("objective/toy_reinforce", {"data": "toy_prompts", "reward": "toy_words"}),
        ("architecture/toy_mirror", {"objective": "toy_both"}),
        ("data/toy_preferences", {"objective": "toy_prefer"}),
        ("reward/toy_length", {"objective": "toy_reinforce"}),
    ],
)
def test_listed_options_are_compatible(address: str, expected: dict[str, str]) -> None:
    group, _, name = address.rpartition("/")
    options = compatible(group, choice(group, name).plugin)
    for other, prefix in expected.items():
        assert any(item.startswith(prefix) for item in options[other])
    assert "toy_next" not in options.get("objective", ())


@pytest.mark.usefixtures("toys")
def test_keys_of_multi_choice_groups_contain_the_plugin_name() -> None:
    assert "reward.toy_length.target = 10  (int)" in page("reward", "toy_length")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        page("objective", "nothing")


def test_merge_gives_the_upper_mapping_precedence_at_every_depth() -> None:
    assert merge({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "e": 5}) == {
        "a": 1,
        "b": {"c": 4, "d": 3},
        "e": 5,
    }


def test_what_a_container_of_rows_fits_is_listed_at_its_record() -> None:
    assert compatible("data", choice("data", "jsonl").plugin) == {}
    record = choice("data/record", "preference").plugin
    assert {"dpo", "reward"} <= {*compatible("data/record", record)["objective"]}
