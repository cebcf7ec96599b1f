"""JSON Lines with a text and its label, or a list of words and one label per word."""

from dataclasses import dataclass

from etude import Labelled, plugin
from etude.data import BadFieldError, FileConfig, JsonRow

from ._shapes import RowSource


@dataclass
class JsonlLabelsConfig(FileConfig):
    text_column: str = "text"
    """Field with the text, or the list of its words."""
    label_column: str = "label"
    """Field with the label, or the list of labels."""


@plugin(
    JsonlLabelsConfig,
    yields=Labelled,
    example={"path": '{file}{"text": "Text #.", "label": "right"}'},
)
class JsonlLabels(RowSource[JsonlLabelsConfig]):
    """A list of words requires a list of the same number of labels."""

    def convert(self, row: JsonRow) -> Labelled:
        text = self.config.text_column
        label = self.config.label_column
        if not isinstance(row.value(text), list):
            return Labelled(row.text(text), row.text(label))
        words = row.texts(text)
        labels = row.texts(label)
        if len(words) != len(labels):
            raise BadFieldError(f"{len(words)} words, but {len(labels)} labels")
        return Labelled(words, labels)
