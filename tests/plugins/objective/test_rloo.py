from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pairs
import pytest
import scripted
import tiny
import torch

from etude.plugins.objective.rloo import leave_one_out

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}
NAN = float("nan")


def test_golden_advantages() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 1, 0, 0, 0, 0]], dtype=torch.float64)
    assert leave_one_out(rewards)[0, :2].tolist() == pytest.approx([0.857143, -0.285714], abs=1e-6)


def test_advantages_are_scaled_distances_from_the_group_mean() -> None:
    rewards = torch.rand(50, 8, dtype=torch.float64)
    found = leave_one_out(rewards)
    assert found.sum(1).abs().max() < 1e-12
    torch.testing.assert_close(found, 8 / 7 * (rewards - rewards.mean(1, keepdim=True)))


def test_a_nan_reward_is_not_in_the_baseline_of_the_others() -> None:
    rewards = torch.tensor([[1.0, NAN, 0.0], [1.0, NAN, NAN]])
    assert leave_one_out(rewards).isnan().tolist() == [[False, True, False], [True] * 3]
    assert leave_one_out(rewards)[0, [0, 2]].tolist() == [1.0, -1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    from trl.trainer.rloo_trainer import RLOOTrainer

    play = scripted.ScriptedCompletions(dtype)
    made = play.objective("rloo", beta=0.0, epsilon=0.3, max_new_tokens=scripted.LENGTH)
    batch = play.batch()
    loss = made.loss(batch).total / made.count(batch)
    loss.backward()

    logits = play.logits.detach().clone().requires_grad_()
    log_probs, entropies = play.log_probs_and_entropies(logits)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=pairs.SingleProcess(),
        aux_loss_enabled=False,
        epsilon_low=0.3,
        epsilon_high=0.3,
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (log_probs, entropies, None),
    )
    mask = play.where.long()
    inputs = {
        "prompt_ids": mask[:, :1], "prompt_mask": mask[:, :1], "completion_ids": mask,
        "completion_mask": mask, "advantages": batch.advantage,
        "old_logps": play.scatter(batch.log_prob).sum(1),
    }  # fmt: skip
    wanted = RLOOTrainer._compute_loss(trainer, None, inputs)  # type: ignore[arg-type]
    wanted.backward()
    torch.testing.assert_close(loss, wanted, **pairs.tolerance(dtype))
    torch.testing.assert_close(play.logits.grad, logits.grad, **pairs.tolerance(dtype))


def test_on_policy_the_plain_gradient_equals_that_of_the_ratio() -> None:
    gradients: list[Any] = []
    for epsilon in (0.2, None):
        play = scripted.ScriptedCompletions(torch.float64)
        play.old = play.logits.detach()
        made = play.objective("rloo", beta=0.0, epsilon=epsilon, max_new_tokens=scripted.LENGTH)
        made.loss(play.batch()).total.backward()
        gradients.append(play.logits.grad)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_the_kl_penalty_of_the_completion_is_subtracted_from_its_reward(tmp_path: Path) -> None:
    """Its advantage is recomputed with a second forward pass of both networks."""
    config = tiny.experiment("rloo", tmp_path, reward=REWARD, beta=0.5, trainer={"max_steps": 4})
    made = tiny.training_parts(config, tiny.remainder)
    lines = tiny.fit(config, made, tmp_path / "run")
    objective: Any = made.objective
    source: Any = made.loader.source
    source.next_step_batch()  # a rollout of the current policy
    samples = source.samples
    rows = samples
    new, old = objective.log_probs(rows), objective.log_probs(rows, objective.reference)
    kl = np.array([a.sum() - b.sum() for a, b in zip(new, old, strict=True)])
    assert np.abs(kl).max() > 1e-3
    rewards = np.array([s.reward for s in samples]) - 0.5 * kl
    groups = rewards.reshape(-1, 4)
    wanted = groups - (groups.sum(1, keepdims=True) - groups) / 3
    assert [s.advantage for s in samples] == pytest.approx(wanted.flatten().tolist(), abs=1e-12)
    assert lines[0]["kl"] == 0
    assert lines[-1]["kl"] != 0


@pytest.mark.parametrize(
    ("key", "value"), [("beta", -0.1), ("epsilon", 0.0), ("epsilon", 1.0), ("group_size", 1)]
)
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "rloo", **{key: value})
    with pytest.raises(ValueError, match="epochs and batches_per_rollout must be 1, got 2 and 1"):
        tiny.part("objective", "rloo", epsilon=None, epochs=2)
