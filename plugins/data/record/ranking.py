"""A prompt and its completions, best first, per row.

The prompt is text or messages; a completion is text, a message, or the whole conversation.
"""

from dataclasses import dataclass

from etude import Ranking, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._completions import prompt_and_completions, refuse_equal
from ._messages import ConversationColumns, MessageReader
from ._shapes import ShapedReader


@dataclass
class RankingColumns(ConversationColumns):
    prompt: str = "prompt"
    """The prompt."""
    completions: str = "completions"
    """The list of completions, best first."""


@dataclass
class RankingRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    RankingRecordConfig,
    yields=Ranking,
    columns=RankingColumns,
    example={
        "data": "jsonl",
        "data.path": '{file}{"prompt": "Count to #.", "completions": ["1, ..., #", "1, #", "no"]}',
    },
)
class RankingReader(ShapedReader[RankingRecordConfig, RankingColumns]):
    """Rejects rows with fewer than two completions or with duplicates."""

    def convert(self, row: Row) -> Ranking:
        columns = self.columns
        column = columns.completions
        values = [
            (item, f"item {number} of field {column!r}")
            for number, item in enumerate(row.items(column), start=1)
        ]
        reader = MessageReader(row, columns)
        prompt, completions = prompt_and_completions(reader, columns.prompt, values)
        if len(completions) < 2:
            raise BadFieldError("a ranking needs at least two completions")
        refuse_equal(reader, completions)
        return Ranking(prompt, tuple(completions))
