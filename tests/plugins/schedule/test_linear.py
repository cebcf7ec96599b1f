import pytest
import tiny

from etude.config.registry import build


def test_falls_linearly_to_the_final_value() -> None:
    factor = build(tiny.part("schedule", "linear", warmup_steps=10, final=0.5), 110)
    assert [factor(step) for step in (0, 9, 10, 60, 110, 999)] == pytest.approx(
        [0.1, 1.0, 1.0, 0.75, 0.5, 0.5]
    )
    assert build(tiny.part("schedule", "linear"), 100)(100) == 0
