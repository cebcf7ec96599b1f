import tiny
import torch

from etude.config.registry import build


def test_frequencies_fall_from_1_radian_per_position_to_nearly_1_over_theta() -> None:
    made = build(tiny.part("architecture/position/scaling", "none"))
    found = made.frequencies(81.0, 8)
    torch.testing.assert_close(found, torch.tensor([1, 1 / 3, 1 / 9, 1 / 27]).double())
    assert made.attention_factor == 1.0
