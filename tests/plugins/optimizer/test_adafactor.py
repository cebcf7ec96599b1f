import pytest
import tiny
import torch
from optimizers import assert_bit_equal, by_hand, stepped

from etude.config.registry import build
from etude.training.optim import optimizer_parameters

WRONG = [("decay_power", 0.0), ("decay_power", 1.1), ("clip", 0.9), ("min_scale", 0.0)]


def test_is_torchs_with_decay_on_matrices_alone() -> None:
    config = tiny.part(
        "optimizer", "adafactor", lr=0.3, weight_decay=0.3, decay_power=0.6, clip=1.2, min_scale=0.4
    )
    assert_bit_equal(
        config,
        lambda module: torch.optim.Adafactor(
            by_hand(module, 0.3), lr=0.3, beta2_decay=-0.6, eps=(None, 0.4), d=1.2
        ),
    )


def test_a_matrix_has_a_row_and_a_column_of_state() -> None:
    held: list[torch.optim.Optimizer] = []

    def made(module: torch.nn.Module) -> torch.optim.Optimizer:
        config = tiny.part("optimizer", "adafactor", lr=0.1)
        held.append(build(config, optimizer_parameters(module)))
        return held[0]

    stepped(made)
    sizes = [sum(s.numel() for s in state.values()) - 1 for state in held[0].state.values()]
    assert sizes == [3 + 4, 5 + 4, 3, 3, 3]  # up.weight, table, up.bias, norm


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "adafactor", lr=0.1, **{key: value})
