"""The synthetic batteries: mqar, fuzzy_recall, copying, state_tracking."""

import re

import pytest

from etude import Chat, DataError, Prompt
from etude.config.registry import build
from etude.plugins.data.copying import CopyingConfig
from etude.plugins.data.fuzzy_recall import FuzzyRecallConfig
from etude.plugins.data.mqar import MqarConfig
from etude.plugins.data.state_tracking import StateTrackingConfig

CONFIGS = (MqarConfig, FuzzyRecallConfig, CopyingConfig, StateTrackingConfig)


def asked(chat: Chat) -> tuple[str, list[tuple[str, str]]]:
    """What a conversation shows, and its queries with their answers."""
    contents = [message.content for message in chat.messages]
    shown, _, contents[0] = contents[0].partition("|")
    return shown, list(zip(contents[::2], contents[1::2], strict=True))


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_samples_are_distinct_and_depend_only_on_the_seed(kind: type) -> None:
    one, same, other = (
        list(build(kind(n_samples=50, problem_seed=seed)).records()) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len({str(record) for record in one}) == 50


@pytest.mark.parametrize("n_noise", [0, 5])
def test_every_key_of_mqar_is_asked_for_once_and_answered_by_its_value(n_noise: int) -> None:
    config = MqarConfig(n_samples=100, n_pairs=5, n_noise=n_noise)
    for chat in build(config).records():
        shown, answers = asked(chat)
        assert len(re.findall(r"\d", shown)) == n_noise
        pairs = re.findall("([A-Z])([a-z])", shown)
        assert len(dict(pairs)) == 5
        assert sorted(answers) == sorted(pairs)


def test_mqar_asks_for_some_of_the_keys() -> None:
    for chat in build(MqarConfig(n_samples=20, n_pairs=6, n_queries=2)).records():
        shown, answers = asked(chat)
        assert len(answers) == 2
        assert set(answers) <= set(re.findall("([A-Z])([a-z])", shown))


def test_fuzzy_keys_and_values_are_words_and_every_key_is_unique() -> None:
    lengths: set[int] = set()
    for chat in build(FuzzyRecallConfig(n_samples=100, n_pairs=4)).records():
        shown, answers = asked(chat)
        pairs = re.findall("([A-Z]+)([a-z]+)", shown)
        assert len(dict(pairs)) == 4
        assert sorted(answers) == sorted(pairs)
        lengths |= {len(word) for pair in pairs for word in pair}
    assert lengths == {1, 2, 3}


@pytest.mark.parametrize("n_blanks", [0, 7])
def test_a_copy_consists_of_the_letters_without_the_blanks(n_blanks: int) -> None:
    lengths: set[int] = set()
    config = CopyingConfig(n_samples=200, min_length=2, max_length=5, n_blanks=n_blanks)
    for record in build(config).records():
        shown = record.prompt
        assert shown.replace(".", "") == record.answer
        assert shown.count(".") == n_blanks
        lengths.add(len(record.answer))
    assert lengths == {2, 3, 4, 5}


def test_the_ball_is_where_the_swaps_bring_it() -> None:
    ends: set[str | None] = set()
    swaps = {"a": "012", "b": "102", "c": "210", "d": "021"}  # new place of the ball in each cup
    for record in build(StateTrackingConfig(n_samples=200, n_cups=3)).records():
        ball = "0"
        for move in record.prompt:
            ball = swaps[move][int(ball)]
        assert record.answer == ball
        ends.add(ball)
    assert ends == {"0", "1", "2"}


def test_with_two_cups_the_answer_is_the_parity_of_the_swaps() -> None:
    for record in build(StateTrackingConfig(n_samples=100, n_cups=2)).records():
        assert isinstance(record, Prompt)
        assert record.answer == str(str(record.prompt).count("b") % 2)


def test_more_samples_than_exist_are_a_data_error() -> None:
    config = StateTrackingConfig(n_samples=20, n_cups=2, min_length=1, max_length=3)
    with pytest.raises(DataError, match=r"data\.n_samples=20 is too large: only 14 different"):
        list(build(config).records())


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (MqarConfig, "n_pairs", 27),
        (MqarConfig, "n_queries", 9),
        (MqarConfig, "n_noise", -1),
        (FuzzyRecallConfig, "n_pairs", 339),
        (FuzzyRecallConfig, "longest", 0),
        (CopyingConfig, "min_length", 17),
        (CopyingConfig, "n_blanks", -1),
        (StateTrackingConfig, "n_cups", 8),
        (StateTrackingConfig, "min_length", 0),
        (MqarConfig, "n_samples", 1),
    ],
)
def test_invalid_values_are_rejected_by_key_and_value(kind: type, key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        kind(**{key: value})
