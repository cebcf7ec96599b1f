"""The base configs of the groups `prompting` and `scorer`: from a question to an answer."""

from dataclasses import dataclass

from etude.config.schema.plugins import PluginConfig


@dataclass
class PromptingConfig(PluginConfig):
    """Base config of the group `prompting`: how a question is put, and an answer chosen."""

    @property
    def n_completions(self) -> int:
        """Completions of each prompt, among whose answers one is chosen."""
        return 1

    @property
    def shows_examples(self) -> bool:
        """Whether prompts contain solved examples, from the training split of the data."""
        return False


@dataclass
class ScorerConfig(PluginConfig):
    """Base config of the group `scorer`: compares an answer with the reference."""
