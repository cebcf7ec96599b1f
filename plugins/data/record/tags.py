"""A list of words and a tag for each, as in named-entity recognition."""

from dataclasses import dataclass

from etude import Labelled, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._shapes import ShapedReader


@dataclass
class TagsColumns:
    tokens: str = "tokens"
    """The list of words."""
    tags: str = "tags"
    """The list of tags, one for each word."""


@dataclass
class TagsRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    TagsRecordConfig,
    yields=Labelled,
    columns=TagsColumns,
    example={"data": "jsonl", "data.path": '{file}{"tokens": ["Count", "#"], "tags": ["O", "N"]}'},
)
class TagsReader(ShapedReader[TagsRecordConfig, TagsColumns]):
    """Rejects rows whose words and tags differ in number."""

    def convert(self, row: Row) -> Labelled:
        words = row.texts(self.columns.tokens)
        tags = row.texts(self.columns.tags)
        if len(words) != len(tags):
            raise BadFieldError(f"{len(words)} words, but {len(tags)} tags")
        return Labelled(words, tags)
