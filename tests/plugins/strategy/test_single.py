"""The single-device strategy."""

from defaults import default

from etude.config.registry import build, load


def test_lightning_chooses_its_single_device_strategy() -> None:
    assert build(default("strategy/single")) == "auto"
    assert load("strategy/single").declaration.max_devices == 1
