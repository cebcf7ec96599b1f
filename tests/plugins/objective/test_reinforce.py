from pathlib import Path
from typing import Any

import pytest
import scripted
import tiny
import torch

from etude.objective.log_probs import sum_rows
from etude.plugins.objective.reinforce import Baseline

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}


def collected(folder: Path, reward: Any, **given: Any) -> tuple[Any, list[list[Any]]]:
    """Three rollouts of an unchanged policy."""
    config = tiny.experiment("reinforce", folder, reward=REWARD, beta=0.0, **given)
    made = tiny.training_parts(config, reward)
    tiny.fit(config, made, folder / "run")
    objective: Any = made.objective
    source: Any = made.loader.source
    objective.means, found = [], []
    for _ in range(3):
        source.next_step_batch()
        found.append(source.samples)
    return objective, found


@pytest.mark.parametrize("baseline", Baseline)
def test_the_configured_baseline_is_subtracted_from_rewards(
    baseline: Baseline, tmp_path: Path
) -> None:
    objective, rollouts = collected(tmp_path, tiny.remainder, baseline=baseline)
    means = [sum(s.reward for s in samples) / 8 for samples in rollouts]
    assert len(set(means)) > 1
    assert objective.means == pytest.approx(means)
    for i, samples in enumerate(rollouts):
        wanted = {
            Baseline.running: sum(means[: i + 1]) / (i + 1),
            Baseline.batch: means[i],
            Baseline.none: 0.0,
        }[baseline]
        assert [s.advantage for s in samples] == pytest.approx([s.reward - wanted for s in samples])


def test_the_loss_is_minus_advantage_times_log_p_of_the_whole_completion() -> None:
    play = scripted.ScriptedCompletions(torch.float64)
    made = play.objective("reinforce", beta=0.0, max_new_tokens=scripted.LENGTH)
    batch = play.batch()
    batch.advantage[::3] = float("nan")
    kept = ~batch.advantage.isnan()
    loss = made.loss(batch)
    log_prob = sum_rows(play.log_probs_and_entropies(play.logits)[0][play.where], play.where)
    wanted = -(batch.advantage * log_prob)[kept].sum()
    torch.testing.assert_close(loss.total, wanted, rtol=1e-12, atol=1e-12)
    assert made.count(batch) == kept.sum()


def test_its_expected_gradient_is_that_of_the_expected_reward() -> None:
    """The estimate, averaged over all completions, is the gradient of the expected reward."""
    logits = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    log_p = logits.log_softmax(-1)[0]
    (wanted,) = torch.autograd.grad((log_p.exp() * rewards).sum(), logits, retain_graph=True)
    for baseline in (0.0, 5.0):  # a baseline adds no bias
        estimate = (log_p.exp().detach() * (rewards - baseline) * log_p).sum()
        (found,) = torch.autograd.grad(estimate, logits, retain_graph=True)
        torch.testing.assert_close(found, wanted)


def test_rollouts_without_verdicts_do_not_change_the_baseline(tmp_path: Path) -> None:
    objective, rollouts = collected(tmp_path, lambda prompts, *_: [float("nan")] * len(prompts))
    assert objective.means == []
    assert objective.count(objective.collate(rollouts[0])) == 0


@pytest.mark.parametrize("key", ["epochs", "batches_per_rollout"])
def test_off_policy_settings_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="epochs and batches_per_rollout must be 1"):
        tiny.part("objective", "reinforce", **{key: 2})
    with pytest.raises(ValueError, match="beta must be 0 or more"):
        tiny.part("objective", "reinforce", beta=-1.0)
