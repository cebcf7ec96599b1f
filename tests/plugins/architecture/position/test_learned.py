import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_adds_the_row_of_each_place() -> None:
    made = build(tiny.part("architecture/position", "learned", max_positions=5), Parts(8, 2))
    x, places = torch.randn(2, 3, 8), torch.tensor([[0, 1, 2], [0, 0, 4]])
    assert torch.equal(made.embed(x, places), x + made.table.weight[places])


def test_the_table_has_a_length() -> None:
    with pytest.raises(ValueError, match="max_positions of learned positions is a number"):
        tiny.part("architecture/position", "learned", max_positions=None)
