"""What does not fit together is refused before anything is built, with what would fit."""

import pytest
from toys import CHOICES

from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.errors import CompositionError

pytestmark = pytest.mark.usefixtures("toys")


def judge(*overrides: str) -> None:
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
def test_what_fits_is_let_through(overrides: tuple[str, ...]) -> None:
    judge(*overrides)


def test_an_architecture_that_lacks_a_capability_is_answered_with_those_that_have_it() -> None:
    with pytest.raises(CompositionError) as refusal:
        judge("objective=toy_both")
    first, second, third = str(refusal.value).splitlines()
    assert first == "objective=toy_both cannot train architecture=toy_famous."
    assert second == "  It needs BOTH_SIDES (every position sees every token)."
    assert third.startswith("  Architectures that provide it: ")
    assert "toy_mirror" in third
    assert "toy_stack" not in third


def test_presets_are_offered_beside_the_stack_they_stand_on() -> None:
    with pytest.raises(CompositionError, match=r"toy_stack \(toy_famous\)"):
        judge("architecture=toy_mirror")


def test_records_the_objective_cannot_read_are_answered_with_data_that_fits() -> None:
    with pytest.raises(CompositionError) as refusal:
        judge("data=toy_preferences")
    assert "objective=toy_next cannot learn from data=toy_preferences" in str(refusal.value)
    assert "It reads Text; this data yields Preference." in str(refusal.value)
    assert "toy_text" in str(refusal.value).splitlines()[2]


def test_a_reward_nobody_learns_from_is_refused_and_so_is_a_missing_one() -> None:
    with pytest.raises(CompositionError, match=r"reward=\[toy_words\] has no effect"):
        judge("reward=toy_words")
    with pytest.raises(CompositionError, match="learns from a reward, and none is chosen"):
        judge("objective=toy_reinforce", "reward=[]")


def test_a_row_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"data.seq_len=513 .*max_positions=512"):
        judge("data.seq_len=513")


def test_a_mixer_must_see_what_its_architecture_sees() -> None:
    with pytest.raises(CompositionError) as refusal:
        judge("objective=mlm", "architecture=bert", "architecture/mixer=retention")
    assert str(refusal.value).splitlines() == [
        "architecture=bert cannot have architecture/mixer=retention.",
        "  It needs BOTH_SIDES (every position sees every token).",
        "  Options of architecture/mixer that provide it: attention.",
    ]
    with pytest.raises(CompositionError, match=r"architecture=t5 cannot have .*=retention"):
        judge("objective=dpo", "architecture=t5", "architecture/mixer=retention")


def test_a_mixer_that_lacks_what_is_needed_is_named_beside_the_architecture() -> None:
    with pytest.raises(CompositionError) as refusal:
        judge("objective=mlm", "architecture=gpt2", "architecture/mixer=retention")
    first, _, families, mixers = str(refusal.value).splitlines()
    assert first == (
        "objective=mlm cannot train architecture=gpt2 with architecture/mixer=retention."
    )
    assert families.startswith("  Architectures that provide it: encoder_only (")
    assert mixers == "  Options of architecture/mixer that provide it: attention."


def test_an_architecture_that_has_what_its_mixer_lacks_is_not_told_of_others() -> None:
    with pytest.raises(CompositionError) as refusal:
        judge("objective=prefix_lm", "architecture=gpt2", "architecture/mixer=retention")
    said = [line.split()[0] for line in str(refusal.value).splitlines()]
    assert said == ["objective=prefix_lm", "It", "Options"]
