import math
from pathlib import Path
from typing import Any

import pytest
import tiny
from sandboxes import isolates

from etude.config.registry import build
from etude.errors import ConfigError
from etude.rl.verifier import check_bench

pytest.importorskip("reasoning_gym")
pytestmark = [isolates, pytest.mark.slow]


def reward(**values: Any) -> Any:  # the plugin's class
    return build(tiny.part("reward", "reasoning_gym", n_problems=10, **values))


def test_right_answers_are_rewarded_and_unknown_prompts_have_no_verdict() -> None:
    records = list(build(tiny.part("data", "reasoning_gym", n_problems=10)).records())
    prompts, right = [r.prompt for r in records], [r.answer for r in records]
    assert reward()(prompts, right, right) == [1.0] * 10
    assert max(reward()(prompts, ["", "x", "{}", "1 2", "\0"] * 2, right)) < 1
    thought = [f"hm</think> {answer}\n" for answer in right]
    assert reward(after="</think>")(prompts, thought, right) == [1.0] * 10
    assert reward(after="</think>")(prompts, right, right) == [0.0] * 10
    assert math.isnan(reward()(["another"], ["1"], ["1"])[0])


def test_a_scorer_that_raises_gives_no_reward() -> None:
    scorer = reward(task="prime_factorization")
    prompt, problem = next(iter(scorer.problems.items()))
    with pytest.raises(ValueError, match="x"):
        scorer.task.score_answer("x", problem)
    assert scorer([prompt] * 2, ["x", problem["answer"]], [None] * 2) == [0.0, 1.0]


def test_a_task_whose_scorer_rewards_any_answer_fails_its_bench() -> None:
    with pytest.raises(ConfigError, match="fails its own bench"):
        check_bench(reward(task="puzzle24"))
    with pytest.raises(ConfigError, match=r"reward\.reasoning_gym\.task=nothing"):
        reward(task="nothing")
    for values in ({"after": ""}, {"n_problems": 1}):
        with pytest.raises(ValueError, match=r"after must not be|n_problems must be"):
            tiny.part("reward", "reasoning_gym", **values)


@pytest.mark.parametrize("task", ["string_insertion", "n_queens", "countdown"])
def test_an_answer_that_a_scorer_runs_does_not_reach_the_host(task: str, tmp_path: Path) -> None:
    made = reward(task=task)
    harm = f"__import__('pathlib').Path({str(tmp_path / 'new')!r}).touch()"
    answers = [harm, f"[{harm}]", f"[str({harm})]", "__import__('time').sleep(60)"]
    assert max(made([next(iter(made.problems))] * 4, answers, [None] * 4)) < 1
    assert not [*tmp_path.iterdir()]
