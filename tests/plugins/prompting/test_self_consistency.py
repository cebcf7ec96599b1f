import math
from collections import Counter

import numpy as np
import pytest
from defaults import default
from prompts import case, prompting

from etude.plugins.prompting.self_consistency import Vote


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["1", "2", "2"], "2"),
        (["1", "2", "2", "1"], "1"),
        ([None, None, None, "3"], "3"),
        ([None, None], None),
    ],
)
def test_most_votes_win_ties_go_to_the_first_and_abstentions_do_not_vote(
    answers: list[str | None], chosen: str | None
) -> None:
    made = prompting("self_consistency", [])
    assert made.choose(answers, [0.0] * len(answers)) == chosen


def test_the_majority_is_the_mode_of_random_answers() -> None:
    random = np.random.default_rng(0)
    made = prompting("self_consistency", [])
    for _ in range(100):
        answers = [str(x) for x in random.integers(0, 4, 9)]
        assert made.choose(answers, [-1.0] * 9) == Counter(answers).most_common(1)[0][0]


def test_a_vote_by_probability_is_weighted_by_the_geometric_mean_of_a_token() -> None:
    made = prompting("self_consistency", [], vote=Vote.probability)
    assert made.choose(["1", "1", "2"], [math.log(p) for p in (0.2, 0.3, 0.6)]) == "2"
    assert made.choose(["1", "1", "2"], [math.log(p) for p in (0.3, 0.4, 0.6)]) == "1"


def test_its_prompts_are_those_of_chain_of_thought_and_it_samples_several() -> None:
    one, many = (prompting(name, []) for name in ("chain_of_thought", "self_consistency"))
    assert one.prompt(case("1 + 1 =")) == many.prompt(case("1 + 1 ="))
    assert (one.n_samples, many.n_samples) == (1, 16)
    with pytest.raises(ValueError, match="n_samples must be at least 2, got 1"):
        default("prompting/self_consistency", n_samples=1)
