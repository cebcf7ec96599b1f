from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from etude.config.registry import build
from etude.network.inputs import Inputs
from etude.network.parts import Parts

DIM = 16


def moe(seed: int = 0, **values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(seed)
    return build(tiny.part("architecture/mlp", "moe", **values), Parts(DIM, 4)).double()


def over_one_rank(value: Tensor) -> Tensor:
    """The sum over the ranks of a single process."""
    return value


@pytest.mark.parametrize("seed", range(20))
def test_outputs_and_gradients_agree_with_mixtral(seed: int) -> None:
    ours = moe(seed, n_experts=3 + seed % 4, top_k=1 + seed % 3, bias_rate=0.0)
    config = MixtralConfig(
        hidden_size=DIM,
        intermediate_size=ours.config.hidden(DIM),
        num_local_experts=ours.config.n_experts,
        num_experts_per_tok=ours.config.top_k,
    )
    theirs: Any = MixtralSparseMoeBlock(config).double()
    gate_up = [torch.cat((e.gate.weight, e.up.weight)) for e in ours.experts]
    with torch.no_grad():
        theirs.gate.weight.copy_(ours.router.weight)
        theirs.experts.gate_up_proj.copy_(torch.stack(gate_up))
        theirs.experts.down_proj.copy_(torch.stack([e.down.weight for e in ours.experts]))
    x = torch.randn(2, 5, DIM, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)  # their router casts to fp32
    both: list[Any] = [ours, theirs]
    for made in both:
        made(x).square().sum().backward()
    torch.testing.assert_close(
        ours.router.weight.grad, theirs.gate.weight.grad, rtol=1e-5, atol=1e-6
    )
    down = torch.stack([e.down.weight.grad for e in ours.experts])
    torch.testing.assert_close(down, theirs.experts.down_proj.grad, rtol=1e-5, atol=1e-6)


def test_no_token_is_dropped_under_uneven_routing() -> None:
    made: Any = moe(n_experts=4, top_k=1, n_shared=1, bias_rate=1.0)
    made.selection_bias += torch.tensor([0.0, 0.0, 99.0, 0.0])  # all tokens select one expert
    x = torch.randn(3, 7, DIM, dtype=torch.float64)
    torch.testing.assert_close(made(x), made.experts[2](x) + made.shared[0](x))


def test_the_bias_affects_the_selection_but_not_the_weights() -> None:
    made = moe(n_experts=4, top_k=2, normalise=False, scoring=_scoring("sigmoid"))
    made.selection_bias += torch.tensor([9.0, 9.0, 0.0, 0.0])
    x = torch.randn(1, 5, DIM, dtype=torch.float64)
    scores = made.router(x).sigmoid()
    wanted = sum(scores[..., i, None] * made.experts[i](x) for i in (0, 1))
    torch.testing.assert_close(made(x), wanted)


def _scoring(name: str) -> Any:
    default = tiny.part("architecture/mlp", "moe").scoring
    return type(default)(name)


def test_the_bias_moves_one_step_towards_even_loads_without_counting_padding() -> None:
    made = moe(n_experts=3, top_k=1, bias_rate=0.25)
    with torch.no_grad():
        made.router.weight.zero_()
        made.router.weight[:, 0] = torch.tensor([1.0, 2.0, 3.0])  # the sign selects expert 2 or 0
    x = torch.zeros(1, 6, DIM, dtype=torch.float64)
    x[0, :, 0] = torch.tensor([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
    made.real = torch.tensor([[True, True, True, True, False, False]])
    made.train()(x)
    assert made.end_step(over_one_rank) == {"max_load": 3 / (4 / 3), "min_load": 0.0}
    assert made.selection_bias.tolist() == [0.25, 0.25, -0.25]  # loads 1, 0, 3
    made.eval()(x)
    assert made.end_step(over_one_rank)["max_load"] == 0.0  # evaluation is not counted


def test_z_loss_and_balance_loss_match_their_formulae_without_padding() -> None:
    made = moe(n_experts=4, top_k=2, z_loss=0.5, balance_loss=0.25).train()
    x = torch.randn(2, 3, DIM, dtype=torch.float64)
    made.real = torch.tensor([[True, True, False], [True, False, False]])
    made(x)
    logits = made.router(x[made.real])
    z = sum(torch.log(row.exp().sum()) ** 2 for row in logits)
    probabilities = logits.softmax(-1)
    chosen = probabilities.topk(2).indices.flatten().tolist()
    share = [chosen.count(i) / len(chosen) for i in range(4)]
    switch = 4 * sum(share[i] * probabilities[:, i].sum() for i in range(4))
    torch.testing.assert_close(made.pop(), 0.5 * z + 0.25 * switch)
    assert made.pop() is None  # it is returned once


def test_even_routing_minimises_the_balance_loss() -> None:
    """Fedus et al. 2021: with uniform f and P the loss is its coefficient, here once per token."""
    made = moe(n_experts=4, top_k=4, balance_loss=0.5).train()
    with torch.no_grad():
        made.router.weight.zero_()
    made(torch.randn(1, 6, DIM, dtype=torch.float64))
    torch.testing.assert_close(made.pop(), torch.tensor(0.5 * 6, dtype=torch.float64))


@pytest.mark.parametrize("packed", [True, False])
def test_the_micro_batch_size_changes_neither_loss_nor_loads(packed: bool, tmp_path: Path) -> None:
    curves: list[list[dict[str, Any]]] = []
    for cut in (8, 2):
        mlp = tiny.part(
            "architecture/mlp", "moe", n_experts=4, multiple_of=4, bias_rate=0.05, z_loss=0.1
        )
        config = tiny.experiment(
            "clm",
            tmp_path,
            architecture=tiny.stack(n_layers=1, mlp=mlp),
            trainer={"max_steps": 10, "micro_batch": cut},
        )
        config.data = replace(config.data, pack=packed)
        torch.manual_seed(0)
        lines = tiny.fit(config, tiny.training_parts(config), tmp_path / f"{cut}")
        curves.append(lines)
    for whole, parts in zip(*curves, strict=True):
        assert whole["loss"] == pytest.approx(parts["loss"], rel=0, abs=1e-11)
        assert whole["stack.blocks.0.mlp/max_load"] == parts["stack.blocks.0.mlp/max_load"] > 1


def test_the_bias_evens_out_a_router_that_favours_an_expert() -> None:
    made = moe(n_experts=4, top_k=1, bias_rate=0.01).train()
    with torch.no_grad():
        made.router.weight[0] += 0.2
    x = torch.randn(4, 32, DIM, dtype=torch.float64) + 0.5
    loads: list[float] = []
    for _ in range(100):
        made(x)
        loads.append(made.end_step(over_one_rank)["max_load"])
    assert loads[0] > 2
    assert loads[-1] < 1.2


def test_bias_rate_0_adds_no_buffer() -> None:
    assert not [*moe(bias_rate=0.0).buffers()]
    made = tiny.network(tiny.stack(mlp=tiny.part("architecture/mlp", "moe")))
    assert made.stack.blocks[0].mlp.selection_bias.dtype == torch.float64
    made(Inputs(tiny.tokens(1, 3)))
