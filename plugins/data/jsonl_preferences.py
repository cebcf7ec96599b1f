"""JSON Lines with a prompt, a chosen and a rejected completion per line."""

from dataclasses import dataclass

from etude import Preference, plugin
from etude.data import BadFieldError, FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlPreferencesConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    chosen_column: str = "chosen"
    """Field with the better completion."""
    rejected_column: str = "rejected"
    """Field with the worse completion."""
    margin_column: str | None = None
    """Field with the margin of chosen over rejected, in reward units; null = margin 0."""
    probability_column: str | None = None
    """Field with the probability that chosen is better, 0.5 to 1; null = probability 1."""


@plugin(JsonlPreferencesConfig, yields=Preference)
class JsonlPreferences(JsonlSource[JsonlPreferencesConfig]):
    """Rejects rows whose two completions are equal."""

    def record(self, row: JsonRow) -> Preference:
        config = self.config
        prompt = row.text(config.prompt_column)
        chosen = row.text(config.chosen_column)
        rejected = row.text(config.rejected_column)
        if chosen == rejected:
            raise BadFieldError("chosen and rejected are equal")
        margin = 0.0 if config.margin_column is None else row.number(config.margin_column)
        chance = 1.0 if config.probability_column is None else row.number(config.probability_column)
        if not 0.5 <= chance <= 1:
            raise BadFieldError(
                f"field {config.probability_column!r} must be in [0.5, 1], not {chance}: "
                "chosen is the completion that is more likely to be better"
            )
        return Preference(prompt, chosen, rejected, margin, chance)
