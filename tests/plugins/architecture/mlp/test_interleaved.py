from typing import Any

import pytest
import tiny
import torch

from etude.network.inputs import Inputs


def interleaved(**values: Any) -> Any:  # the plugin's own class
    return tiny.part("architecture/mlp", "interleaved", **values)


def kinds(n_layers: int, **values: Any) -> list[str]:
    """The class of the MLP of each layer."""
    made = tiny.network(tiny.stack(mlp=interleaved(**values), n_layers=n_layers))
    return [type(block.mlp).__name__ for block in made.stack.blocks]


def test_every_nth_layer_uses_the_other_mlp() -> None:
    assert kinds(5) == ["GatedFeedForward", "Moe"] * 2 + ["GatedFeedForward"]


def test_the_first_layers_use_the_main_mlp() -> None:
    assert kinds(4, other_every=1, n_first=3) == ["GatedFeedForward"] * 3 + ["Moe"]


def test_the_slots_compute_as_they_do_in_a_stack_of_their_own() -> None:
    gelu = tiny.part("architecture/mlp", "gelu")
    mixed = tiny.network(tiny.stack(mlp=interleaved(main=gelu, other=gelu)))
    alone = tiny.network(tiny.stack(mlp="gelu"))
    given = Inputs(tiny.tokens(2, 5))
    assert torch.equal(mixed(given), alone(given))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"other_every": 0}, "other_every must be at least 1, got 0"),
        ({"n_first": -1}, "n_first must be 0 or more, got -1"),
        ({"other_every": 3}, "leave the other MLP no layer of 2"),
        ({"n_first": 2}, "leave the other MLP no layer of 2"),
    ],
)
def test_values_that_leave_no_layer_or_are_out_of_range_are_errors(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kinds(2, **values)
