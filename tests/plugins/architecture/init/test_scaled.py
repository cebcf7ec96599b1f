import math

import pytest
import weights


def test_branch_outputs_are_scaled_down_with_depth() -> None:
    made = weights.initialised("scaled", values={"std": 0.3})
    ends = weights.ends_of_branches(made)
    assert len(ends) == 2 * weights.N_LAYERS
    for name, linear in weights.maps(made).items():
        smaller = math.sqrt(2 * weights.N_LAYERS) if name in ends else 1
        weights.assert_std(linear.weight, 0.3 / smaller)
    for table in (*weights.tables(made), made.head.out.weight):
        weights.assert_std(table, 0.3)


def test_cross_attention_outputs_are_scaled_down_too() -> None:
    made = weights.initialised("scaled", "encoder_decoder")
    assert len(weights.ends_of_branches(made)) == 5 * weights.N_LAYERS


def test_biases_are_0_and_norms_1() -> None:
    weights.assert_biases_are_0_and_norms_1(weights.initialised("scaled"))


def test_the_standard_deviation_must_be_positive() -> None:
    with pytest.raises(ValueError, match="std must be positive"):
        weights.initialised("scaled", values={"std": 0.0})
