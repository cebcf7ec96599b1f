"""Incompatible choices are refused before anything is built, with compatible options."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toys import CHOICES, write_plugin

from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.errors import CompositionError, MissingExtraError

pytestmark = pytest.mark.usefixtures("toys")


def check_choices(*overrides: str) -> None:
    composed = compose("train", [*CHOICES, *overrides])
    check(to_experiment(composed.config), composed.choices["architecture"])


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("objective=toy_both", "architecture=toy_mirror"),
        ("objective=toy_reinforce",),
        ("data.seq_len=512",),
        ("data.seq_len=9999", "architecture.position.max_positions=null"),
    ],
)
def test_compatible_choices_are_accepted(overrides: tuple[str, ...]) -> None:
    check_choices(*overrides)


def test_a_missing_capability_is_refused_with_the_architectures_that_provide_it() -> None:
    with pytest.raises(CompositionError) as refusal:
        check_choices("objective=toy_both")
    first, second, third = str(refusal.value).splitlines()
    assert first == "objective=toy_both cannot train architecture=toy_famous."
    assert second == "  It needs BOTH_SIDES (every position attends to every token)."
    assert third.startswith("  Architectures that provide it: ")
    assert "toy_mirror" in third
    assert "toy_stack" not in third


def test_suggested_architectures_include_the_presets_based_on_them() -> None:
    with pytest.raises(CompositionError, match=r"toy_stack \(toy_famous\)"):
        check_choices("architecture=toy_mirror")


def test_records_that_the_objective_cannot_read_are_refused_with_compatible_data() -> None:
    with pytest.raises(CompositionError) as refusal:
        check_choices("data=toy_preferences")
    assert "objective=toy_next cannot train on data=toy_preferences" in str(refusal.value)
    assert "It reads Text; this data yields Preference." in str(refusal.value)
    assert "toy_text" in str(refusal.value).splitlines()[2]


def test_an_unused_reward_and_a_missing_reward_are_refused() -> None:
    with pytest.raises(CompositionError, match=r"reward=\[toy_words\] has no effect"):
        check_choices("reward=toy_words")
    with pytest.raises(CompositionError, match="maximises a reward, but no reward is chosen"):
        check_choices("objective=toy_reinforce", "reward=[]")


def test_a_row_longer_than_max_positions_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"data.seq_len=513 .*max_positions=512"):
        check_choices("data.seq_len=513")


def test_a_mixer_must_provide_the_attention_pattern_of_its_architecture() -> None:
    with pytest.raises(CompositionError) as refusal:
        check_choices("objective=mlm", "architecture=bert", "architecture/mixer=retention")
    assert str(refusal.value).splitlines() == [
        "architecture=bert cannot use architecture/mixer=retention.",
        "  It needs BOTH_SIDES (every position attends to every token).",
        "  Options of architecture/mixer that provide it: attention, mla.",
    ]
    with pytest.raises(CompositionError, match=r"architecture=t5 cannot use .*=retention"):
        check_choices("objective=dpo", "architecture=t5", "architecture/mixer=retention")


def test_a_mixer_that_lacks_a_capability_is_named_with_the_architecture() -> None:
    with pytest.raises(CompositionError) as refusal:
        check_choices("objective=mlm", "architecture=gpt2", "architecture/mixer=retention")
    first, _, families, mixers = str(refusal.value).splitlines()
    assert first == (
        "objective=mlm cannot train architecture=gpt2 with architecture/mixer=retention."
    )
    assert families.startswith("  Architectures that provide it: encoder_only (")
    assert mixers == "  Options of architecture/mixer that provide it: attention, mla."


def test_only_mixers_are_suggested_if_only_the_mixer_lacks_the_capability() -> None:
    with pytest.raises(CompositionError) as refusal:
        check_choices("objective=prefix_lm", "architecture=gpt2", "architecture/mixer=retention")
    first_words = [line.split()[0] for line in str(refusal.value).splitlines()]
    assert first_words == ["objective=prefix_lm", "It", "Options"]


def test_a_library_of_an_extra_with_another_name_is_named_with_the_extra(
    tmp_path: Path, more_plugins: Callable[[str, str], Path]
) -> None:
    declared = "yields=Text, extra='toys', libraries={'json', 'toy_library'}"
    file = write_plugin(tmp_path, "data/toy_foreign", "DataConfig", "", declared)
    more_plugins("data/toy_foreign", file.read_text(encoding="utf-8"))
    with pytest.raises(MissingExtraError) as missing:
        check_choices("data=toy_foreign")
    assert str(missing.value) == (
        "data=toy_foreign needs toy_library, which is not installed.\n"
        "  Install it with pip install 'etude[toys]'."
    )
