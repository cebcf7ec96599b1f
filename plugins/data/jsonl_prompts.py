"""JSON Lines with a prompt and, optionally, a reference answer per line."""

from dataclasses import dataclass

from etude import Prompt, plugin
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlPromptsConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    answer_column: str = "answer"
    """Field with the reference answer."""


@plugin(JsonlPromptsConfig, yields=Prompt)
class JsonlPrompts(JsonlSource[JsonlPromptsConfig]):
    """The answer may be missing or null."""

    def record(self, row: JsonRow) -> Prompt:
        prompt = row.text(self.config.prompt_column)
        column = self.config.answer_column
        has_answer = row.optional(column) is not None
        return Prompt(prompt, row.text(column) if has_answer else None)
