"""Asks the question after a sentence that says what to do.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import Chat, Message, Prompt, plugin
from etude.config import PromptingConfig
from etude.evaluation import Case, Prompting


@dataclass
class SketchConfig(PromptingConfig):
    instruction: str = "Answer with one word."
    """The sentence before each question."""


@plugin(SketchConfig)
class Sketch(Prompting[SketchConfig]):
    """A line before a text; a system message before a conversation."""

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        asked = case.record.prompt
        if isinstance(asked, str):
            return f"{self.config.instruction}\n{asked}"
        first = Message("system", self.config.instruction)
        return Chat((first, *asked.messages), asked.tools)
