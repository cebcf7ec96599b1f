import pytest
import tiny
import torch
from optimizers import assert_bit_equal, by_hand, parameters_after_steps

from etude.config.registry import build
from etude.training.optim import optimizer_parameters

WRONG = [("decay_power", 0.0), ("decay_power", 1.1), ("clip", 0.9), ("min_scale", 0.0)]


def test_equals_torch_with_decay_of_matrices_only() -> None:
    config = tiny.part(
        "optimizer", "adafactor", lr=0.3, weight_decay=0.3, decay_power=0.6, clip=1.2, min_scale=0.4
    )
    assert_bit_equal(
        config,
        lambda module: torch.optim.Adafactor(
            by_hand(module, 0.3), lr=0.3, beta2_decay=-0.6, eps=(None, 0.4), d=1.2
        ),
    )


def test_the_state_of_a_matrix_is_one_row_and_one_column() -> None:
    held: list[torch.optim.Optimizer] = []

    def made(module: torch.nn.Module) -> torch.optim.Optimizer:
        config = tiny.part("optimizer", "adafactor", lr=0.1)
        held.append(build(config, optimizer_parameters(module)))
        return held[0]

    parameters_after_steps(made)
    sizes = [sum(s.numel() for s in state.values()) - 1 for state in held[0].state.values()]
    assert sizes == [3 + 4, 5 + 4, 3, 3, 3]  # up.weight, table, up.bias, norm


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "adafactor", lr=0.1, **{key: value})
