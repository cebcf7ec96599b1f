import pytest
import tiny
import torch
from optimizers import assert_bit_equal, by_hand


def test_equals_torch_with_decay_of_matrices_only() -> None:
    assert_bit_equal(
        tiny.part("optimizer", "sgd", lr=0.01, momentum=0.8, weight_decay=0.3),
        lambda module: torch.optim.SGD(by_hand(module, 0.3), lr=0.01, momentum=0.8),
    )


@pytest.mark.parametrize(("key", "value"), [("lr", 0.0), ("momentum", 1.0), ("weight_decay", -1.0)])
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "sgd", **({"lr": 0.1} | {key: value}))
