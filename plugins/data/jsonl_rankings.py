"""JSON Lines with a prompt and its completions, best first, per row.

The prompt is text or messages; a completion is text, a message, or the whole conversation.
"""

from dataclasses import dataclass

from etude import Ranking, plugin
from etude.data import BadFieldError, JsonRow

from ._completions import prompt_and_completions, refuse_equal
from ._messages import ConversationConfig, MessageReader
from ._shapes import RowSource


@dataclass
class JsonlRankingsConfig(ConversationConfig):
    prompt_column: str = "prompt"
    """Field with the prompt."""
    completions_column: str = "completions"
    """Field with the list of completions, best first."""


@plugin(
    JsonlRankingsConfig,
    yields=Ranking,
    example={"path": '{file}{"prompt": "Count to #.", "completions": ["1, ..., #", "1, #", "no"]}'},
)
class JsonlRankings(RowSource[JsonlRankingsConfig]):
    """Rejects rows with fewer than two completions or with duplicates."""

    def convert(self, row: JsonRow) -> Ranking:
        config = self.config
        column = config.completions_column
        values = [
            (item, f"item {number} of field {column!r}")
            for number, item in enumerate(row.items(column), start=1)
        ]
        reader = MessageReader(row, config)
        prompt, completions = prompt_and_completions(reader, config.prompt_column, values)
        if len(completions) < 2:
            raise BadFieldError("a ranking needs at least two completions")
        refuse_equal(reader, completions)
        return Ranking(prompt, tuple(completions))
