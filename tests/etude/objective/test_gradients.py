import copy

import pytest
import torch
from torch import nn

from etude.objective import gradients


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(n, generator=generator)) for n in (3, 5)]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return made


def test_the_norm_is_that_of_all_gradients_together() -> None:
    made = weights()
    norm, value = gradients.total_norm(made)
    assert value == float(norm) == pytest.approx(float(torch.cat([p.grad for p in made]).norm()))  # type: ignore[misc]


def test_without_gradients_neither_decay_nor_momentum_moves_a_weight() -> None:
    made = weights()
    optimizer = torch.optim.AdamW(made, lr=0.1, weight_decay=0.5)
    optimizer.step()
    before = [p.detach().clone() for p in made]
    moments = copy.deepcopy(optimizer.state_dict()["state"])
    gradients.drop(made)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, made, strict=True))
    for old, new in zip(moments.values(), optimizer.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)


def test_the_error_names_the_step_the_norm_and_the_samples() -> None:
    error = gradients.non_finite_error(3, 2.5, float("inf"), "abc")
    assert "loss of step 3 is 2.5 and its gradient norm is inf" in str(error)
    assert "abc" in str(error)
