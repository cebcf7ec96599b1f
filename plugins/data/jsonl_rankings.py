"""JSON Lines with a prompt and its completions, best first, per line."""

from dataclasses import dataclass

from etude import Ranking, plugin
from etude.data import BadFieldError, FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlRankingsConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    completions_column: str = "completions"
    """Field with the list of completions, best first."""


@plugin(JsonlRankingsConfig, yields=Ranking)
class JsonlRankings(JsonlSource[JsonlRankingsConfig]):
    """Rejects rows with fewer than two completions or with duplicates."""

    def record(self, row: JsonRow) -> Ranking:
        completions = row.texts(self.config.completions_column)
        if len(completions) < 2 or len(set(completions)) < len(completions):
            raise BadFieldError("a ranking needs at least two completions, all different")
        return Ranking(row.text(self.config.prompt_column), completions)
