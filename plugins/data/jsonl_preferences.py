"""JSON lines with a prompt, a chosen and a rejected completion in each."""

from dataclasses import dataclass

from etude import plugin
from etude.readers import BadFieldError, FileConfig, JsonlSource, Row
from etude.records import Preference


@dataclass
class JsonlPreferencesConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field that holds the prompt."""
    chosen_column: str = "chosen"
    """Field that holds the better completion."""
    rejected_column: str = "rejected"
    """Field that holds the worse completion."""


@plugin(JsonlPreferencesConfig, yields=Preference)
class JsonlPreferences(JsonlSource[JsonlPreferencesConfig]):
    """Refuses rows whose completions are equal: they prefer nothing."""

    def record(self, row: Row) -> Preference:
        prompt = row.text(self.config.prompt_column)
        chosen = row.text(self.config.chosen_column)
        rejected = row.text(self.config.rejected_column)
        if chosen == rejected:
            raise BadFieldError("chosen and rejected are equal")
        return Preference(prompt, chosen, rejected)
