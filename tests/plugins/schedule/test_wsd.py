import math
from typing import Any

import pytest
import tiny
from defaults import default

from etude.config.registry import build

Shape: Any = type(default("schedule/wsd").shape)


def factors(total: int, **values: Any) -> list[float]:
    factor = build(tiny.part("schedule", "wsd", **values), total)
    return [factor(step) for step in range(total + 1)]


@pytest.mark.parametrize("shape", Shape)
def test_warms_up_stays_constant_and_decays_over_the_last_fraction(shape: Any) -> None:
    found = factors(110, warmup_steps=10, decay_fraction=0.2, shape=shape)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert found[10:91] == [1.0] * 81
    for step in range(91, 111):
        x = (step - 90) / 20
        wanted = 1 - x if shape is Shape.linear else 1 - math.sqrt(x)
        assert found[step] == pytest.approx(wanted), step
    assert found[110] == pytest.approx(0)


def test_ends_at_the_final_value_and_stays_there() -> None:
    assert factors(50, warmup_steps=0, decay_fraction=1.0, final=0.3)[-1] == pytest.approx(0.3)
    factor = build(tiny.part("schedule", "wsd", final=0.3), 100)
    assert factor(100) == factor(999) == pytest.approx(0.3)


def test_a_linear_decay_over_all_steps_is_the_linear_schedule() -> None:
    values: dict[str, Any] = {"warmup_steps": 7, "final": 0.1}
    linear = build(tiny.part("schedule", "linear", **values), 60)
    found = factors(60, decay_fraction=1.0, shape=Shape.linear, **values)
    assert found == pytest.approx([linear(step) for step in range(61)])


@pytest.mark.parametrize(("key", "value"), [("decay_fraction", 0.0), ("final", 1.1)])
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be in"):
        tiny.part("schedule", "wsd", **{key: value})
