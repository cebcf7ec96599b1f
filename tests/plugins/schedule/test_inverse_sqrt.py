import math

import pytest
import tiny

from etude.config.registry import build


@pytest.mark.parametrize(("warmup", "dim"), [(4000, 512), (16, 64), (1, 8)])
def test_is_equation_3_divided_by_its_peak(warmup: int, dim: int) -> None:
    factor = build(tiny.part("schedule", "inverse_sqrt", warmup_steps=warmup), 9999)

    def equation_3(n: int) -> float:
        return dim**-0.5 * min(n**-0.5, n * warmup**-1.5)

    for n in (1, 2, warmup // 2 + 1, warmup, warmup + 1, 9999, 50_000):
        assert factor(n - 1) == pytest.approx(equation_3(n) / equation_3(warmup)), n


def test_warms_up_linearly_and_halves_after_four_times_the_warmup() -> None:
    factor = build(tiny.part("schedule", "inverse_sqrt"), 1000)
    other = build(tiny.part("schedule", "constant"), 1000)
    assert [factor(step) for step in range(100)] == [other(step) for step in range(100)]
    assert factor(399) == pytest.approx(0.5)


def test_without_warmup_it_falls_from_the_first_step() -> None:
    factor = build(tiny.part("schedule", "inverse_sqrt", warmup_steps=0), 10)
    assert [factor(step) for step in (0, 3, 8)] == pytest.approx([1, 1 / 2, 1 / math.sqrt(9)])
