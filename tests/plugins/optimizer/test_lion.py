import numpy as np
import pytest
import tiny
import torch
from torch import nn

from etude.config.registry import build
from etude.training.optim import OptimizerParameter, ParameterKind


def after(start: np.ndarray, gradients: np.ndarray, **values: float) -> np.ndarray:
    """Returns a matrix after steps of our Lion, in float64."""
    parameter = nn.Parameter(torch.tensor(start))
    config = tiny.part("optimizer", "lion", **values)
    optimizer = build(config, [OptimizerParameter("w", parameter, ParameterKind.MATRIX)])
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return parameter.detach().numpy()


def program_1(
    w: np.ndarray, gradients: np.ndarray, lr: float, decay: float, betas: tuple[float, float]
) -> np.ndarray:
    """Chen et al. 2023, program 1, line by line."""
    momentum = np.zeros_like(w)
    for gradient in gradients:
        update = np.sign(gradient * (1 - betas[0]) + momentum * betas[0])
        momentum = gradient * (1 - betas[1]) + momentum * betas[1]
        w = w - (update + w * decay) * lr
    return w


def test_equals_the_program_of_the_paper() -> None:
    draw = np.random.default_rng(0)
    start, gradients = draw.normal(size=(4, 3)), draw.normal(size=(50, 4, 3))
    found = after(start, gradients, lr=0.01, weight_decay=0.7, beta1=0.6, beta2=0.8)
    np.testing.assert_allclose(found, program_1(start, gradients, 0.01, 0.7, (0.6, 0.8)), 1e-12)


def test_every_element_moves_by_the_learning_rate_for_any_gradient_size() -> None:
    gradient = np.array([[1e-9, -1e9, 0.0]])
    moved = after(np.zeros((1, 3)), np.stack([gradient] * 7), lr=0.5, weight_decay=0.0)
    np.testing.assert_allclose(moved, [[-3.5, 3.5, 0.0]])


def test_without_gradient_a_parameter_only_decays() -> None:
    left = after(np.ones((2, 2)), np.zeros((3, 2, 2)), lr=0.1, weight_decay=0.5)
    np.testing.assert_allclose(left, 0.95**3)


def test_a_reversed_gradient_is_followed_once_the_momentum_has_decayed() -> None:
    gradients = np.array([1.0] * 3 + [-1.0] * 4)[:, None, None]
    path = [
        float(after(np.zeros((1, 1)), gradients[:n], lr=1.0, weight_decay=0.0, beta1=0.9)[0, 0])
        for n in range(8)
    ]  # momentum 0.03 after three steps: 0.9 * 0.03 < 0.1, so the direction flips
    assert path == [0, -1, -2, -3, -2, -1, 0, 1]


@pytest.mark.parametrize(
    ("key", "value"), [("beta1", 1.0), ("beta2", -0.1), ("weight_decay", -1.0)]
)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "lion", lr=0.1, **{key: value})
