"""One device, and no room for a second."""

from defaults import default

from etude.config.registry import build, load


def test_lightning_chooses_the_strategy_of_one_device() -> None:
    assert build(default("strategy/single")) == "auto"
    assert load("strategy/single").declaration.max_devices == 1
