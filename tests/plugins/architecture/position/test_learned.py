import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_adds_the_table_row_of_each_position() -> None:
    made = build(tiny.part("architecture/position", "learned", max_positions=5), Parts(8, 2))
    x, positions = torch.randn(2, 3, 8), torch.tensor([[0, 1, 2], [0, 0, 4]])
    assert torch.equal(made.embed(x, positions), x + made.table.weight[positions])


def test_max_positions_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="max_positions must be a number, got null"):
        tiny.part("architecture/position", "learned", max_positions=None)
