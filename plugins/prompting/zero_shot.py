"""Asks the question as it is, without examples."""

from dataclasses import dataclass

from etude import Chat, Prompt, plugin
from etude.config import PromptingConfig
from etude.evaluation import Case, Prompting


@dataclass
class ZeroShotConfig(PromptingConfig):
    """No knobs of its own."""


@plugin(ZeroShotConfig)
class ZeroShot(Prompting[ZeroShotConfig]):
    """The prompt of the record."""

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        return case.record.prompt
