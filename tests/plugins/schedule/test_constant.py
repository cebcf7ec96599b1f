import pytest
import tiny

from etude.config.registry import build


@pytest.mark.parametrize(
    ("warmup", "total", "rise"),
    [(None, 50, 5), (None, 5000, 100), (None, 5, 0), (0, 50, 0), (7, 9, 7)],
)
def test_warms_up_linearly_and_stays_constant(warmup: int | None, total: int, rise: int) -> None:
    factor = build(tiny.part("schedule", "constant", warmup_steps=warmup), total)
    for step in range(total + 1):
        assert factor(step) == (pytest.approx((step + 1) / rise) if step < rise else 1.0)


def test_a_warmup_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="warmup_steps must be 0 or more, got -1"):
        tiny.part("schedule", "constant", warmup_steps=-1)
