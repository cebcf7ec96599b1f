"""SOAP equals pytorch-optimizer's, and the algorithm written out with dense matrices."""

from typing import Any

import pytest
import tiny
import torch
from optimizers import Small, by_hand, noise
from pytorch_optimizer import SOAP
from torch import Tensor

from etude.config.registry import build
from etude.training.optim import optimizer_parameters

VALUES: dict[str, Any] = {
    "lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.7, "eps": 1e-6, "max_basis_dim": 4,
}  # fmt: skip
WRONG = [
    ("beta1", 1.0), ("beta2", -0.1), ("eps", 0.0), ("basis_every", 0), ("max_basis_dim", 0),
]  # fmt: skip


def made(module: Any, **values: Any) -> torch.optim.Optimizer:
    config = tiny.part("optimizer", "soap", **(VALUES | values))
    return build(config, optimizer_parameters(module))


@pytest.mark.parametrize(("every", "tolerance"), [(100, 1e-12), (2, 1e-5)])  # its QR is in fp32
def test_equals_the_package_given_the_first_gradient_twice(every: int, tolerance: float) -> None:
    ours, theirs = Small().double(), Small().double()
    optimizer = made(ours, basis_every=every)
    reference = SOAP(
        by_hand(theirs, 0.3), lr=0.02, betas=(0.8, 0.7), eps=1e-6, precondition_frequency=every,
        max_precondition_dim=4,
    )  # fmt: skip
    noise(theirs, 0)
    reference.step()
    for seed in range(7):
        for module, one in ((ours, optimizer), (theirs, reference)):
            noise(module, seed)
            one.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=0.0, atol=tolerance)


def dense_steps(weight: Tensor, gradients: list[Tensor], every: int) -> Tensor:
    """The weight of a matrix after SOAP steps, with algorithm 3's L, R, Q_L and Q_R."""
    lr, decay, b1, b2, eps = 0.02, 0.3, 0.8, 0.7, 1e-6
    first = gradients[0]
    left, right = (1 - b2) * first @ first.T, (1 - b2) * first.T @ first
    q_left, q_right = (torch.linalg.eigh(m).eigenvectors.flip(1) for m in (left, right))
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    for t, grad in enumerate(gradients, 1):
        mean = b1 * mean + (1 - b1) * grad
        square = b2 * square + (1 - b2) * (q_left.T @ grad @ q_right) ** 2
        adam = (q_left.T @ mean @ q_right) / (square.sqrt() + eps)
        size = lr * (1 - b2**t) ** 0.5 / (1 - b1**t)
        weight = (weight - size * q_left @ adam @ q_right.T) * (1 - lr * decay)
        left = b2 * left + (1 - b2) * grad @ grad.T
        right = b2 * right + (1 - b2) * grad.T @ grad
        if t % every == 0:
            rows = torch.diag(q_left.T @ left @ q_left).argsort(descending=True)
            columns = torch.diag(q_right.T @ right @ q_right).argsort(descending=True)
            square = square[rows][:, columns]
            q_left = torch.linalg.qr(left @ q_left[:, rows]).Q
            q_right = torch.linalg.qr(right @ q_right[:, columns]).Q
    return weight


def test_equals_the_algorithm_with_both_sides_written_out() -> None:
    module = Small().double()
    optimizer = made(module, basis_every=3)
    start = module.up.weight.detach().clone()
    gradients: list[Tensor] = []
    for seed in range(8):
        noise(module, seed)
        assert module.up.weight.grad is not None
        gradients.append(module.up.weight.grad.clone())
        optimizer.step()
    tiny.assert_close(module.up.weight.detach(), dense_steps(start, gradients, 3))


def test_only_short_axes_of_tensors_with_several_have_a_basis() -> None:
    module = Small()
    optimizer = made(module)
    noise(module, 0)
    optimizer.step()
    names = {name: set(optimizer.state[p]) for name, p in module.named_parameters()}
    moments = {"step", "exp_avg", "exp_avg_sq"}
    assert names["up.weight"] == moments | {"gram_0", "basis_0", "gram_1", "basis_1"}
    assert names["table.weight"] == moments | {"gram_1", "basis_1"}  # 5 rows: too long
    assert names["up.bias"] == moments


def test_bases_stay_orthogonal() -> None:
    module = Small().double()
    optimizer = made(module, basis_every=1)
    for seed in range(5):
        noise(module, seed)
        optimizer.step()
    basis = optimizer.state[module.up.weight]["basis_1"]
    tiny.assert_close(basis.mT @ basis, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "soap", lr=0.1, **{key: value})
