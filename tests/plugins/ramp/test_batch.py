import tiny

from etude.config.registry import build
from etude.objective.step_size import StepSize


def test_the_batch_grows_linearly_by_multiples_of_its_start() -> None:
    ramp = build(tiny.part("ramp", "batch", start=4, steps=7))
    grown = [ramp(step, StepSize(32, 16)).samples for step in range(9)]
    assert grown == [4, 8, 12, 16, 20, 24, 28, 32, 32]


def test_a_full_batch_need_not_be_a_multiple_of_the_start() -> None:
    ramp = build(tiny.part("ramp", "batch", start=4, steps=2))
    assert [ramp(step, StepSize(10, 16)).samples for step in range(3)] == [4, 4, 10]
