import pytest

from etude.config.schema.ramp import RampConfig


@pytest.mark.parametrize("name", ["start", "steps"])
def test_sizes_and_steps_are_at_least_1(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        RampConfig(**{name: 0})
