import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.objective.log_probs import sequence_log_prob
from etude.plugins.objective.online_dpo import RankedPair

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}
NAN = float("nan")
PAIRS = [
    RankedPair([2, 200, 201], [[202, 203, 3], [204, 3]], [1.0, 0.0], 0),
    RankedPair([2, 200], [[205], [206, 207, 208]], [0.5, 0.5], 2),
    RankedPair([2, 200], [[205, 3], [206, 207, 208]], [0.5, 0.25], 1),
    RankedPair([2, 200], [[205, 3], [206, 3]], [0.5, NAN], 0),
]


def moved(**config: Any) -> Any:
    """An objective whose policy has moved away from its reference."""
    made = tiny.objective("online_dpo", max_new_tokens=4, **config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def test_the_loss_of_an_untrained_policy_is_log_2_per_pair() -> None:
    made = tiny.objective("online_dpo", max_new_tokens=4)
    batch = made.collate(PAIRS)
    assert made.count(batch) == 2
    assert float(made.loss(batch).total.detach()) == pytest.approx(2 * math.log(2), abs=1e-12)


def test_the_loss_is_that_of_dpo_on_the_same_pairs() -> None:
    made = moved(beta=0.3)
    dpo = tiny.objective("dpo", made.network, beta=0.3)
    batch = made.collate(PAIRS)
    sides = [
        made.network.answer([(m.prompt, m.completions[side]) for m in (PAIRS[0], PAIRS[2])])
        for side in (0, 1)
    ]
    policy, reference = (
        torch.stack([sequence_log_prob(net, side) for side in sides])
        for net in (made.network, made.reference)
    )
    losses, metrics = dpo.pair_losses(policy, reference, torch.ones(2, 2))
    loss = made.loss(batch)
    torch.testing.assert_close(loss.total, losses.sum(), rtol=1e-12, atol=1e-12)
    for name in ("accuracy", "margin"):
        torch.testing.assert_close(loss.metrics[name].double(), metrics[name].sum().double())


def test_ties_and_missing_verdicts_are_in_no_sum() -> None:
    made = moved()
    batch, few = made.collate(PAIRS), made.collate([PAIRS[0], PAIRS[2]])
    totals = [made.loss(b).total for b in (batch, few)]
    torch.testing.assert_close(*totals)
    metrics = made.report({k: float(v) for k, v in made.loss(batch).metrics.items()})
    assert metrics["reward"] == pytest.approx((1 + 0.5 + 0.5 + 0.5 + 0.25 + 0.5) / 7)
    assert (metrics["zero_variance"], metrics["truncated"], metrics["response_length"]) == (
        0.5,
        3 / 8,
        18 / 8,
    )
    tied = made.collate([PAIRS[1], PAIRS[3]])
    assert made.count(tied) == 0
    assert made.loss(tied).total == 0


def test_pairs_are_the_best_and_the_worst_of_each_group(tmp_path: Path) -> None:
    config = tiny.experiment("online_dpo", tmp_path, reward=REWARD, trainer={"max_steps": 1})

    def holed(*given: Any) -> list[float]:
        return [NAN if reward > 0.9 else reward for reward in tiny.remainder(*given)]

    made = tiny.training_parts(config, holed)
    (line,) = tiny.fit(config, made, tmp_path / "run")
    objective: Any = made.objective
    source: Any = made.loader.source
    assert len(source.samples) == 8
    written: list[Any] = []
    write = objective.sample_and_score
    objective.sample_and_score = lambda *given: written.append(write(*given)) or written[-1]
    source.next_step_batch()
    ((completions, rewards, _),) = written
    assert rewards.isnan().any()
    for i, match in enumerate(source.samples):
        known = [
            (float(r), row.completion)
            for r, row in zip(rewards[i], completions[4 * i : 4 * i + 4], strict=True)
            if not math.isnan(r)
        ]
        assert match.rewards == [max(r for r, _ in known), min(r for r, _ in known)]
        for reward, ids in zip(match.rewards, match.completions, strict=True):
            assert (reward, ids) in known
    assert line["loss"] == pytest.approx(math.log(2))


@pytest.mark.parametrize(("key", "value"), [("beta", 0.0), ("group_size", 1)])
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "online_dpo", **{key: value})
