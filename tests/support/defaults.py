"""Every plugin's config with its defaults, built from the dataclasses alone."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields
from typing import Any

from etude.config.registry import load

GIVEN: dict[str, Any] = {
    "lr": 1e-3, "path": "a", "run": "a", "url": "http://localhost:1", "pattern": "a", "target": 20,
    "limit": 100, "margin": 20, "model": "a",
}  # fmt: skip
"""The only keys that may lack a default, with a value for each."""


def default(address: str, **values: Any) -> Any:  # the config class is the plugin's own
    """The config of a plugin; the plugins it chooses are built alike."""
    kind = load(address).config
    group = address.rpartition("/")[0]
    for item in fields(kind):
        if item.name in values:
            continue
        if option := item.metadata.get("option"):
            values[item.name] = default(f"{group}/{item.name}/{option}")
        elif item.default == "???" or (
            item.default is NO_DEFAULT and item.default_factory is NO_DEFAULT
        ):
            values[item.name] = GIVEN[item.name]
    return kind(**values)
