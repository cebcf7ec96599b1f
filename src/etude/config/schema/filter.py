"""The base config of the group `filter`."""

from dataclasses import dataclass

from etude.config.schema.plugins import PluginConfig


@dataclass
class FilterConfig(PluginConfig):
    """Base config of the group `filter`: drops or changes records before they are stored."""
