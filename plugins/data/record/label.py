"""A text and its label."""

from dataclasses import dataclass

from etude import Labelled, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._shapes import ShapedReader


@dataclass
class LabelColumns:
    text: str = "text"
    """The text, or the list of its words."""
    label: str = "label"
    """The label, or the list of labels."""


@dataclass
class LabelRecordConfig(RecordConfig):
    """No knobs of its own."""


@plugin(
    LabelRecordConfig,
    yields=Labelled,
    columns=LabelColumns,
    example={"data": "jsonl", "data.path": '{file}{"text": "Text #.", "label": "right"}'},
)
class LabelReader(ShapedReader[LabelRecordConfig, LabelColumns]):
    """A list of words requires a list of the same number of labels."""

    def convert(self, row: Row) -> Labelled:
        text = self.columns.text
        label = self.columns.label
        if not isinstance(row.value(text), list):
            return Labelled(row.text(text), row.text(label))
        words = row.texts(text)
        labels = row.texts(label)
        if len(words) != len(labels):
            raise BadFieldError(f"{len(words)} words, but {len(labels)} labels")
        return Labelled(words, labels)
