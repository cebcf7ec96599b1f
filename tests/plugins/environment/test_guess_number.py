import numpy as np
import pytest

from etude.plugins.environment.guess_number import GuessNumber, GuessNumberConfig
from etude.records import Prompt

RNG = np.random.default_rng(0)


def play(number: int, game: GuessNumber) -> tuple[int, float]:
    """Turns and reward of a policy that halves the range."""
    low, high, reward = 1, game.config.highest, 0.0
    for turn in range(1, 100):
        guess = (low + high) // 2
        reply = game.step({"number": number}, f" {guess}\n", RNG)
        reward += reply.reward
        if reply.text is None:
            return turn, reward
        assert reply.role == "user"
        low, high = (guess + 1, high) if reply.text == "Higher.\n" else (low, guess - 1)
    raise AssertionError


def test_halving_the_range_finds_every_number_in_log2_guesses() -> None:
    game = GuessNumber(GuessNumberConfig(highest=127, cost=0.1))
    played = [play(number, game) for number in range(1, 128)]
    turns = [n for n, _ in played]
    assert (max(turns), sum(turns)) == (7, sum(n * 2 ** (n - 1) for n in range(1, 8)))
    assert all(reward == pytest.approx(1 - 0.1 * (n - 1)) for n, reward in played)


def test_a_turn_without_a_number_costs_a_guess() -> None:
    game = GuessNumber(GuessNumberConfig(cost=0.25))
    reply = game.step({"number": 3}, "three\n", RNG)
    assert (reply.text, reply.reward) == ("Write a number.\n", -0.25)


def test_the_number_is_uniform_and_its_prompt_has_the_range() -> None:
    game = GuessNumber(GuessNumberConfig(highest=4))
    rng = np.random.default_rng(1)
    found = [game.start(Prompt(""), rng)["number"] for _ in range(4000)]
    assert np.abs(np.bincount(found)[1:] / 4000 - 0.25).max() < 0.03
    assert game.prompt(Prompt("other", "1")) == Prompt("Guess a number from 1 to 4.\n")


@pytest.mark.parametrize("values", [{"highest": 0}, {"highest": 10**9}, {"cost": -1.0}])
def test_values_outside_their_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GuessNumberConfig(**values)  # type: ignore[arg-type]
