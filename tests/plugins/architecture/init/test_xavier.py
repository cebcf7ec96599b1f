import math

import pytest
import torch
import weights
from torch import nn


def test_matrices_are_uniform_within_the_bound_of_fan_in_and_fan_out() -> None:
    made = weights.initialised("xavier", values={"gain": 2.0})
    for linear in (*weights.maps(made).values(), made.head.out):
        bound = 2 * math.sqrt(6 / sum(linear.weight.shape))
        weights.assert_std(linear.weight, bound / math.sqrt(3))
        assert 0.99 * bound < linear.weight.abs().max() <= bound


def test_a_layer_preserves_variance_forward_and_backward() -> None:
    linear = nn.Linear(512, 512, bias=False)
    square = weights.maps(weights.initialised("xavier", dim=512, n_layers=1))[
        "stack.blocks.0.mixer.q"
    ]
    linear.load_state_dict({"weight": square.weight})
    x = torch.randn(64, 512)
    for found in (linear(x), x @ linear.weight):
        torch.testing.assert_close(found.std(), x.std(), rtol=0.05, atol=0)


def test_tables_have_vectors_of_about_unit_length() -> None:
    for table in weights.tables(weights.initialised("xavier")):
        weights.assert_std(table, weights.DIM**-0.5)


def test_biases_are_0_and_norms_1() -> None:
    weights.assert_biases_are_0_and_norms_1(weights.initialised("xavier"))


def test_the_gain_must_be_positive() -> None:
    with pytest.raises(ValueError, match="gain must be positive"):
        weights.initialised("xavier", values={"gain": 0.0})
