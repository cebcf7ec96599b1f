import ast
import inspect
import math
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scripted
import tiny
import torch

from etude.plugins.objective.gdpo import decoupled_sum
from etude.plugins.objective.grpo import Average
from etude.rl.rewards import WeightedRewards

NAN = math.nan
WEIGHTS = torch.tensor([1.0, 0.5, -2.0], dtype=torch.float64)


def advantages_of_trl(rewards: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Runs the branch `normalize_then_sum` of TRL's trainer, cut out of its source."""
    from trl.trainer import grpo_trainer
    from trl.trainer.utils import nanstd

    source = textwrap.dedent(
        inspect.getsource(grpo_trainer.GRPOTrainer._generate_and_score_completions)
    )
    branches = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and "'normalize_then_sum'" in ast.unparse(node.test)
    ]
    body = "\n".join(map(ast.unparse, branches[-1].body))
    scope: dict[str, Any] = {
        "torch": torch,
        "nanstd": nanstd,
        "self": SimpleNamespace(reward_funcs=weights.tolist(), reward_weights=weights),
        "device": "cpu",
        "num_generations": rewards.shape[2],
        "rewards_per_func": rewards.flatten(1).T,
        "unscorable_mask": rewards.flatten(1).isnan().all(dim=0),
    }
    exec(body, scope)
    return scope["advantages"]


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_advantages_agree_with_trl(missing: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rewards = torch.randn(3, 50, 8, dtype=torch.float64)
    rewards[torch.rand(rewards.shape) < missing] = NAN
    rewards[:, :5, 0] = 1.0  # a group may agree
    summed = decoupled_sum(rewards, WEIGHTS)
    mean = summed[~summed.isnan()].mean()
    std = summed[~summed.isnan()].std()
    wanted = advantages_of_trl(rewards, WEIGHTS)
    ours = ((summed - mean) / (std + 1e-4)).flatten()
    torch.testing.assert_close(ours, wanted, equal_nan=True, rtol=0, atol=1e-6)
    assert bool(ours.isnan().any()) == (missing > 0)


def test_combinations_that_the_sum_cannot_tell_apart_have_different_advantages() -> None:
    """The paper's example: rewards (0, 1) and (0, 2) in a group of two."""
    one = torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]], dtype=torch.float64)
    two = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]], dtype=torch.float64)
    ones = torch.ones(2, dtype=torch.float64)
    assert decoupled_sum(one, ones)[0, 1] == pytest.approx(2**-0.5, abs=1e-3)
    assert decoupled_sum(two, ones)[0, 1] == pytest.approx(2 * 2**-0.5, abs=1e-3)


def test_the_loss_is_that_of_grpo_with_a_mean_over_tokens() -> None:
    grad = []
    for name, more in (("grpo", {"average": Average.token}), ("gdpo", {})):
        play = scripted.ScriptedCompletions(torch.float64)
        made = play.objective(
            name, beta=0.1, epsilon_high=0.3, max_new_tokens=scripted.LENGTH, **more
        )
        batch = play.batch()
        (made.loss(batch).total / made.count(batch)).backward()
        grad.append(play.logits.grad)
    torch.testing.assert_close(*grad, rtol=1e-12, atol=1e-15)


def test_a_rollout_uses_each_reward_and_its_weight(tmp_path: Path) -> None:
    config = tiny.experiment("gdpo", tmp_path, trainer={"max_steps": 1})

    def first(prompts: Any, completions: Any, references: Any) -> list[float]:
        return [float(len(c) % 2) for c in completions]

    reward = WeightedRewards({"parity": (2.0, first), "remainder": (0.5, tiny.remainder)})
    made = tiny.training_parts(config, reward)
    tiny.fit(config, made, tmp_path / "run")
    source: Any = made.loader.source
    samples = source.samples
    scores = torch.tensor([[s.parts[n] for s in samples] for n in ("parity", "remainder")])
    weights = torch.tensor([2.0, 0.5]).double()
    summed = decoupled_sum(scores.double().unflatten(1, (-1, 4)), weights)
    wanted = ((summed - summed.mean()) / (summed.std() + 1e-4)).flatten().tolist()
    assert [s.advantage for s in samples] == pytest.approx(wanted, abs=1e-6)
