from dataclasses import replace
from pathlib import Path
from typing import Any

import adapters
import pytest
import tiny
import torch
from tiny import assert_close
from torch import Tensor

from etude.errors import ConfigError
from etude.network.adapter import adapt
from etude.plugins.objective._ppo.value_function import (
    Value,
    ValueHead,
    ValueKind,
    ValueNetwork,
    from_reward_model,
    value_losses,
    value_of,
    variance_terms,
    with_explained_variance,
)
from etude.rl.reward_model import read_reward_model
from etude.training.run import start

FAMILIES = ["decoder_only", "encoder_decoder"]
PAIRS = [([2, 150, 151], [200, 201, 3]), ([2, 150, 151, 152, 153], [200, 3])]


def values(made: Value, policy: Any) -> Tensor:
    """The value of each token of both completions."""
    due = policy.answer(PAIRS)
    return made(due, policy.states(due.inputs)[due.where])


@pytest.mark.parametrize("kind", ValueKind)
def test_values_start_at_0_and_have_gradients(kind: ValueKind) -> None:
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
def test_a_value_depends_only_on_the_tokens_before_its_own(kind: ValueKind, family: str) -> None:
    policy = tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab)
    made = value_of(kind, policy, tiny.tools()).double()
    torch.nn.init.normal_(made.head.weight, generator=torch.Generator().manual_seed(1))  # type: ignore[union-attr, arg-type]
    before, after = PAIRS[0]

    def of(completion: list[int]) -> Tensor:
        due = policy.answer([(before, completion)])
        return made(due, policy.states(due.inputs)[due.where])

    whole = of(after)
    for n in range(1, len(after)):
        assert_close(of([*after[:n], 222])[: n + 1], whole[: n + 1])
    assert len({round(value, 6) for value in whole.tolist()}) == 3


def test_a_separate_value_network_shares_no_weights_with_the_policy() -> None:
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(ValueKind.network, policy, tiny.tools())
    assert isinstance(made, ValueNetwork)
    held = {id(p) for p in policy.parameters()}
    assert not held & {id(p) for p in made.parameters()}
    learned = {name for name, p in made.named_parameters() if p.requires_grad}
    assert not {name for name in learned if name.startswith("network.head")}
    assert {"head.weight", "network.embedding.weight"} <= learned


def test_weights_frozen_by_an_adapter_are_shared_and_the_trained_ones_copied() -> None:
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    adapt(policy, adapters.choice("lora"))
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


def test_values_start_as_the_scores_of_the_reward_model(tmp_path: Path) -> None:
    run = trained(tmp_path)
    scorer = read_reward_model(run)
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


def test_the_dropout_of_a_reward_model_is_replaced_and_its_shorter_length_is_said(
    tmp_path: Path,
) -> None:
    run = str(trained(tmp_path, dropout=0.25))
    reward = {"model": tiny.part("reward", "model", run=run)}
    config = tiny.experiment("ppo", tmp_path, value=ValueKind.network, reward=reward)
    config = replace(config, data=replace(config.data, seq_len=32))
    objective = tiny.training_parts(config).objective
    assert {m.p for m in objective.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    assert "objective.dropout=0 replaces a dropout of 0.25" in objective.notes
    assert f"reward    {run} reads at most 16 tokens, and cuts the rest" in objective.notes


def test_with_several_reward_models_values_start_from_the_policy(tmp_path: Path) -> None:
    run = str(trained(tmp_path))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    made = value_of(ValueKind.network, policy, tiny.tools(teachers=[run, run]))
    assert "copy of the policy" in made.note


def test_a_reward_model_that_cannot_be_a_value_function_is_refused(tmp_path: Path) -> None:
    run = str(trained(tmp_path, architecture=tiny.stack("encoder_only", n_layers=1, n_segments=2)))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    with pytest.raises(ConfigError, match="its architecture differs from the policy's"):
        from_reward_model(run, policy, tiny.tools())


def test_a_reward_model_with_fewer_positions_than_data_is_refused(tmp_path: Path) -> None:
    run = str(trained(tmp_path))
    policy = tiny.network(vocab=tiny.BYTES.vocab)
    with pytest.raises(ConfigError, match=r"fewer than data\.seq_len=100000"):
        from_reward_model(run, policy, tiny.tools(seq_len=100_000))


def test_value_losses_by_hand() -> None:
    """A value within the clip range, one beyond it towards the return, and one away from it."""
    value = torch.tensor([0.1, 0.5, -0.5], dtype=torch.float64, requires_grad=True)
    before, returns = torch.zeros(3).double(), torch.ones(3).double()
    found, flat = value_losses(value, before, returns, 0.2)
    assert_close(found.detach(), torch.tensor([0.81, 0.64, 2.25], dtype=torch.float64) / 2)
    assert flat.tolist() == [False, True, False]
    (slope,) = torch.autograd.grad(found.sum(), value)
    assert_close(slope, torch.tensor([-0.9, 0.0, -1.5], dtype=torch.float64))
    free, none = value_losses(value, before, returns, None)
    assert_close(free, (value - returns).square() / 2)
    assert not none.any()


def test_explained_variance_is_1_for_perfect_values_and_0_for_constant_ones() -> None:
    returns = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cases = {1.0: returns + 3, 0.0: torch.full_like(returns, 0.7), 0.75: returns / 2}
    for wanted, value in cases.items():
        means = {name: float(x.mean()) for name, x in variance_terms(returns, value).items()}
        assert with_explained_variance(means) == {
            "explained_variance": pytest.approx(wanted, abs=1e-12)
        }
    same = {name: float(x.mean()) for name, x in variance_terms(returns * 0, returns).items()}
    assert with_explained_variance(same) == {"explained_variance": 0.0}
    assert with_explained_variance({"reward": 0.5}) == {"reward": 0.5}


def test_a_value_head_adds_only_its_own_weights() -> None:
    assert sum(p.numel() for p in ValueHead(16).parameters()) == 17
