import tiny
import torch

from etude.config.registry import build


def test_the_first_pair_turns_a_radian_a_place_and_the_last_nearly_theta_times_slower() -> None:
    made = build(tiny.part("architecture/position/scaling", "none"))
    found = made.frequencies(81.0, 8)
    torch.testing.assert_close(found, torch.tensor([1, 1 / 3, 1 / 9, 1 / 27]).double())
    assert made.attention_factor == 1.0
