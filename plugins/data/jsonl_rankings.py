"""JSON lines with a prompt and its completions, best first, in each."""

from dataclasses import dataclass

from etude import Ranking, plugin
from etude.data import BadFieldError, FileConfig, JsonlSource, JsonRow


@dataclass
class JsonlRankingsConfig(FileConfig):
    prompt_column: str = "prompt"
    """Field that holds the prompt."""
    completions_column: str = "completions"
    """Field that holds the list of completions, best first."""


@plugin(JsonlRankingsConfig, yields=Ranking)
class JsonlRankings(JsonlSource[JsonlRankingsConfig]):
    """Refuses rows with fewer than two completions, or with two that are equal."""

    def record(self, row: JsonRow) -> Ranking:
        completions = row.texts(self.config.completions_column)
        if len(completions) < 2 or len(set(completions)) < len(completions):
            raise BadFieldError("a ranking needs two completions at least, all different")
        return Ranking(row.text(self.config.prompt_column), completions)
