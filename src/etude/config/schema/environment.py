"""The base config of the group `environment`."""

from dataclasses import dataclass

from etude.config.schema.plugins import PluginConfig, require


@dataclass
class EnvironmentConfig(PluginConfig):
    """Base config of the group `environment`: tools and partners that reply to the policy."""

    max_turns: int = 4
    """Most turns of the policy in an episode; one that would need more is truncated. Typical:
    2-16."""

    def __post_init__(self) -> None:
        require(self.max_turns >= 1, f"max_turns must be at least 1, got {self.max_turns}")
