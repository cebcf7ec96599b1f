"""The config of a plugin with its defaults, built from the dataclass without Hydra."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields
from typing import Any

from etude.cli.pages.plugin import choice
from etude.config.plugin_source import presets
from etude.config.registry import load

REQUIRED: dict[str, Any] = {
    "lr": 1e-3, "path": "a", "run": "a", "draft": "a", "url": "http://localhost:1", "pattern": "a",
    "target": 20, "limit": 100, "margin": 20, "model": "a", "task": "sums",
}  # fmt: skip
"""A value for each key that has no default; no other key may lack one."""


def default(address: str, **values: Any) -> Any:  # the config class is the plugin's own
    """The config of a plugin, and of the plugins it chooses, or of a preset of other choices."""
    group, _, name = address.rpartition("/")
    if name in presets(group):
        chosen = choice(group, name)
        slots = {slot: default(f"{group}/{slot}/{one}") for slot, one in chosen.parts.items()}
        return default(chosen.plugin.address, **slots, **values)
    kind = load(address).config
    for item in fields(kind):
        if item.name in values:
            continue
        if option := item.metadata.get("option"):
            values[item.name] = default(f"{group}/{item.name}/{option}")
        elif item.default == "???" or (
            item.default is NO_DEFAULT and item.default_factory is NO_DEFAULT
        ):
            values[item.name] = REQUIRED[item.name]
    return kind(**values)
