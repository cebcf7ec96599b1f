import math

import pytest
import tiny

from etude.config.registry import build


def test_is_half_a_cosine_from_1_to_the_final_value() -> None:
    factor = build(tiny.part("schedule", "cosine", warmup_steps=10, final=0.2), 110)
    for step in range(10, 111):
        angle = math.pi * (step - 10) / 100
        assert factor(step) == pytest.approx(0.2 + 0.8 * (1 + math.cos(angle)) / 2)
    assert factor(9) == 1.0
    assert factor(60) == pytest.approx(0.6)
    assert factor(110) == factor(999) == pytest.approx(0.2)


def test_a_warmup_longer_than_the_run_never_decays() -> None:
    factor = build(tiny.part("schedule", "cosine", warmup_steps=20), 10)
    assert [factor(step) for step in (0, 9)] == [0.05, 0.5]


@pytest.mark.parametrize("final", [-0.1, 1.1])
def test_final_must_be_between_0_and_1(final: float) -> None:
    with pytest.raises(ValueError, match=r"final must be in \[0, 1\]"):
        tiny.part("schedule", "cosine", final=final)
