"""JSON lines with a text and its label in each, or with words and a label for each word."""

from dataclasses import dataclass

from etude import plugin
from etude.readers import BadFieldError, FileConfig, JsonlSource, Row
from etude.records import Labelled


@dataclass
class JsonlLabelsConfig(FileConfig):
    text_column: str = "text"
    """Field that holds the text, or the list of its words."""
    label_column: str = "label"
    """Field that holds the label, or the list of labels."""


@plugin(JsonlLabelsConfig, yields=Labelled)
class JsonlLabels(JsonlSource[JsonlLabelsConfig]):
    """A list of words asks for a list of as many labels."""

    def record(self, row: Row) -> Labelled:
        text, label = self.config.text_column, self.config.label_column
        if not isinstance(row.value(text), list):
            return Labelled(row.text(text), row.text(label))
        words, labels = row.texts(text), row.texts(label)
        if len(words) != len(labels):
            raise BadFieldError(f"{len(words)} words and {len(labels)} labels")
        return Labelled(words, labels)
