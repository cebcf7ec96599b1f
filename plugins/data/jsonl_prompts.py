"""JSON lines with a prompt in each, and its reference answer where one exists."""

from dataclasses import dataclass

from etude import Prompt, plugin
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlPromptsConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field that holds the prompt."""
    answer_column: str = "answer"
    """Field that holds the reference answer."""


@plugin(JsonlPromptsConfig, yields=Prompt)
class JsonlPrompts(JsonlSource[JsonlPromptsConfig]):
    """A row may lack the answer, or hold null."""

    def record(self, row: JsonRow) -> Prompt:
        prompt = row.text(self.config.prompt_column)
        column = self.config.answer_column
        has_answer = row.fields.get(column) is not None
        return Prompt(prompt, row.text(column) if has_answer else None)
