"""JSON Lines with a prompt, a completion and its label (true or false) or score per line."""

from dataclasses import dataclass

from etude import Feedback, plugin
from etude.data import FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlFeedbackConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    completion_column: str = "completion"
    """Field with the completion."""
    score_column: str = "label"
    """Field with the label or the score."""


@plugin(JsonlFeedbackConfig, yields=Feedback)
class JsonlFeedback(JsonlSource[JsonlFeedbackConfig]):
    """Converts true to a score of 1 and false to 0."""

    def record(self, row: JsonRow) -> Feedback:
        return Feedback(
            row.text(self.config.prompt_column),
            row.text(self.config.completion_column),
            row.number(self.config.score_column),
        )
