import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.errors import ConfigError
from etude.objective.reward import ChatReward, scores_of
from etude.records import Chat, Message
from etude.rl.completions import metric_means, part_sums
from etude.rl.rewards import WeightedRewards, build_rewards

NAN = math.nan


def fixed(scores: list[float]):
    """A reward with fixed scores."""
    return lambda prompts, completions, references: scores


def test_the_sum_is_weighted_and_a_missing_verdict_adds_nothing() -> None:
    both = WeightedRewards(
        {"a": (2.0, fixed([1.0, 0.5, NAN, NAN])), "b": (-1.0, fixed([1.0, NAN, 3.0, NAN]))}
    )
    total = both(["?"] * 4, ["."] * 4, [None] * 4)
    assert total[:3] == [1.0, 1.0, -3.0]
    assert math.isnan(total[3])


def test_each_reward_can_be_read_by_its_name() -> None:
    chosen = {
        name: tiny.part("reward", name, weight=weight)
        for name, weight in (("exact_answer", 2.0), ("numeric", 0.5))
    }
    rewards = build_rewards(chosen)
    assert rewards is not None
    found = rewards.by_name(["?"] * 2, ["7", "it is 7"], ["7", "7"])
    assert found == {"exact_answer": [1.0, 0.0], "numeric": [1.0, 1.0]}
    assert rewards.total(found) == [2.5, 0.5]
    assert build_rewards({}) is None


def test_a_verifier_that_fails_its_bench_is_refused(tmp_path: Path) -> None:
    lenient = {"regex": tiny.part("reward", "regex", pattern=".*")}
    config = tiny.experiment("grpo", tmp_path, reward=lenient)
    with pytest.raises(ConfigError, match="reward=regex fails its own bench"):
        tiny.training_parts(config)


def test_each_of_several_rewards_is_logged_as_the_mean_over_its_verdicts(
    tmp_path: Path,
) -> None:
    chosen = {
        "length": tiny.part("reward", "length", target=3, weight=2.0),
        "numeric": tiny.part("reward", "numeric"),
    }
    config = tiny.experiment("grpo", tmp_path, reward=chosen, trainer={"val_samples": 4})
    lines = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    for line in lines:
        assert line["reward"] == pytest.approx(2 * line["reward/length"] + line["reward/numeric"])
    assert {"val/reward/length", "val/reward/numeric"} <= lines[-1].keys()
    assert not any("verdicts" in name for line in lines for name in line)


class ByMessages(ChatReward):
    """Scores by the number of messages."""

    def __call__(self, prompts: Any, completions: Any, references: Any) -> list[float]:
        return [float(len(p.messages) if isinstance(p, Chat) else 1) for p in prompts]


def test_a_reward_gets_a_transcript_unless_it_reads_conversations() -> None:
    seen: list[str] = []

    def by_text(prompts: Any, completions: Any, references: Any) -> list[float]:
        seen.extend(prompts)
        return [0.0] * len(prompts)

    asked = Message("user", "a")
    chats = ["a", Chat((asked,)), Chat((Message("system", "s"), asked))]
    both = WeightedRewards({"text": (1.0, by_text), "messages": (1.0, ByMessages())})
    assert scores_of(both, chats, ["x"] * 3, [None] * 3) == [1.0, 1.0, 2.0]
    assert seen == ["a", "a", "System: s\n\nUser: a"]
    assert list(scores_of(by_text, chats, ["x"] * 3, [None] * 3)) == [0.0] * 3


def test_the_mean_of_a_reward_without_verdicts_is_nan() -> None:
    parts = {"a": torch.tensor([1.0, NAN, 3.0]), "b": torch.tensor([NAN] * 3)}
    means = {name: float(value) / 3 for name, value in part_sums(parts).items()}
    metrics = metric_means(means)
    assert metrics["reward/a"] == pytest.approx(2.0)
    assert math.isnan(metrics["reward/b"])
    assert metrics.keys() == {"reward/a", "reward/b"}
