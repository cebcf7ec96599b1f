"""The base config of the group `judge`."""

from dataclasses import dataclass

from etude.config.schema.plugins import PluginConfig

QUESTION = """\
Which of two answers to the same request is better: more correct, more helpful, better written?

Request:
{prompt}

Answer A:
{first}

Answer B:
{second}

Reply with one letter, A or B, and nothing else. The better answer is"""
"""The default prompt of a language-model judge."""


@dataclass
class JudgeConfig(PluginConfig):
    """Base config of the group `judge`: decides which of two completions is better."""

    @property
    def compares_scores(self) -> bool:
        """Whether it compares the scores of the chosen rewards; otherwise it takes none."""
        return False
