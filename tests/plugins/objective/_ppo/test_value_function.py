from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import pytest
import tiny
import torch
from tiny import exactly
from torch import Tensor

from etude.errors import ConfigError
from etude.network.adapter import adapt
from etude.plugins.objective._ppo.value_function import (
    Value,
    ValueHead,
    ValueKind,
    ValueNetwork,
    explained,
    from_reward,
    spreads,
    value_losses,
    value_of,
)
from etude.rl.reward_model import read_reward
from etude.training.run import start

FAMILIES = ["decoder_only", "encoder_decoder"]
PAIRS = [([2, 150, 151], [200, 201, 3]), ([2, 150, 151, 152, 153], [200, 3])]


def values(made: Value, policy: Any) -> Tensor:
    """Of each token of both completions."""
    due = policy.answer(PAIRS)
    return made(due, policy.states(due.inputs)[due.where])


@pytest.mark.parametrize("kind", ValueKind)
def test_values_begin_at_0_and_learn(kind: ValueKind) -> None:
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(kind, policy, tiny.tools()).double()
    found = values(made, policy)
    assert found.shape == (5,)
    assert not found.any()
    found.sum().backward()
    assert made.head.weight.grad is not None  # type: ignore[union-attr]
    assert made.head.weight.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ValueKind)
def test_a_value_is_of_the_state_before_its_token_and_sees_nothing_of_what_comes(
    kind: ValueKind, family: str
) -> None:
    policy = tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab)
    made = value_of(kind, policy, tiny.tools()).double()
    torch.nn.init.normal_(made.head.weight, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, arg-type]
    before, after = PAIRS[0]

    def of(completion: list[int]) -> Tensor:
        due = policy.answer([(before, completion)])
        return made(due, policy.states(due.inputs)[due.where])

    whole = of(after)
    for n in range(1, len(after)):
        exactly(of([*after[:n], 222])[: n + 1], whole[: n + 1])
    assert len({round(value, 6) for value in whole.tolist()}) == 3


def test_a_network_of_its_own_is_a_copy_that_the_policy_does_not_move() -> None:
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(ValueKind.network, policy, tiny.tools())
    assert isinstance(made, ValueNetwork)
    held = {id(p) for p in policy.parameters()}
    assert not held & {id(p) for p in made.parameters()}
    learned = {name for name, p in made.named_parameters() if p.requires_grad}
    assert not {name for name in learned if name.startswith("network.head")}
    assert {"head.weight", "network.embedding.weight"} <= learned


def test_what_an_adapter_froze_is_held_once_and_what_it_learns_twice() -> None:
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    adapt(policy, adapters.chosen("lora"))
    frozen = {id(p) for p in policy.parameters() if not p.requires_grad}
    learned = {id(p) for p in policy.parameters() if p.requires_grad}
    made = value_of(ValueKind.network, policy, tiny.tools())
    own = {id(p) for p in made.parameters()} - frozen
    assert frozen <= {id(p) for p in made.parameters()}
    assert not own & learned
    assert len(own) == len(learned) + 2  # and its head
    assert sum(1 for _ in value_of(ValueKind.head, policy, tiny.tools()).parameters()) == 2


def trained(folder: Path, **given: Any) -> Path:
    """A finished run of a reward model, whose scores differ."""
    config = tiny.experiment("reward", folder, trainer={"max_steps": 3}, **given)
    start(replace(config, run=str(folder / "judge")), "tiny", [])
    return folder / "judge"


def test_the_first_values_are_the_scores_that_the_reward_gives(tmp_path: Path) -> None:
    run = trained(tmp_path)
    scorer = read_reward(run)
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(ValueKind.network, policy, tiny.tools(teachers=[str(run)])).double()
    assert str(run) in made.note
    inputs, where = scorer.network.read(PAIRS)
    score = scorer.head(scorer.network.states(inputs)[where]).double()
    due = policy.answer([(before, [*after, 0]) for before, after in PAIRS])
    found = made(due, policy.states(due.inputs)[due.where])
    last = found[torch.tensor([3, 6])]  # the states that have seen a whole completion
    torch.testing.assert_close(last, (score - scorer.mean) / scorer.std, rtol=1e-5, atol=1e-5)
    assert all(p.requires_grad for n, p in made.named_parameters() if "network.head" not in n)


def test_of_several_reward_models_none_is_chosen(tmp_path: Path) -> None:
    run = str(trained(tmp_path))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(ValueKind.network, policy, tiny.tools(teachers=[run, run]))
    assert "copy of the policy" in made.note


def test_a_reward_model_that_cannot_be_a_value_function_is_refused(tmp_path: Path) -> None:
    run = str(trained(tmp_path, architecture=tiny.stack("encoder_only", n_layers=1, n_segments=2)))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    with pytest.raises(ConfigError, match="not a network of the policy's family"):
        from_reward(run, policy, tiny.tools())


def test_a_reward_model_with_fewer_positions_than_data_is_refused(tmp_path: Path) -> None:
    run = str(trained(tmp_path))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    with pytest.raises(ConfigError, match=r"positions for data\.seq_len=100000"):
        from_reward(run, policy, tiny.tools(seq_len=100_000))


def test_value_losses_by_hand() -> None:
    """Inside the clip; beyond it on the way to the return, and away from it."""
    value = torch.tensor([0.1, 0.5, -0.5], dtype=torch.float64, requires_grad=True)
    before, returns = torch.zeros(3).double(), torch.ones(3).double()
    found, flat = value_losses(value, before, returns, 0.2)
    exactly(found.detach(), torch.tensor([0.81, 0.64, 2.25], dtype=torch.float64) / 2)
    assert flat.tolist() == [False, True, False]
    (slope,) = torch.autograd.grad(found.sum(), value)
    exactly(slope, torch.tensor([-0.9, 0.0, -1.5], dtype=torch.float64))
    free, none = value_losses(value, before, returns, None)
    exactly(free, (value - returns).square() / 2)
    assert not none.any()


def test_explained_variance_is_1_of_what_is_foreseen_and_0_of_a_constant() -> None:
    returns = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cases = {1.0: returns + 3, 0.0: torch.full_like(returns, 0.7), 0.75: returns / 2}
    for wanted, value in cases.items():
        means = {name: float(x.mean()) for name, x in spreads(returns, value).items()}
        assert explained(means) == {"explained_variance": pytest.approx(wanted, abs=1e-12)}
    same = {name: float(x.mean()) for name, x in spreads(returns * 0, returns).items()}
    assert explained(same) == {"explained_variance": 0.0}
    assert explained({"reward": 0.5}) == {"reward": 0.5}


def test_a_head_has_no_weights_but_its_own() -> None:
    assert sum(p.numel() for p in ValueHead(16).parameters()) == 17
