"""A text, or a pair of texts, and its label; a list contains all labels that apply, if any."""

from dataclasses import dataclass

from etude import Labelled, plugin
from etude.config import RecordConfig
from etude.data import BadFieldError, Row

from ._shapes import ShapedReader


@dataclass
class LabelColumns:
    text: str = "text"
    """The text."""
    label: str = "label"
    """The label, or the list of all labels that apply."""
    second: str | None = None
    """The second text of a pair, such as the hypothesis of a premise; null = none."""


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
    """Yields the name of the label; lists of words and ratings have readers of their own."""

    def convert(self, row: Row) -> Labelled:
        text, label, second = self.columns.text, self.columns.label, self.columns.second
        if isinstance(row.value(text), list):
            names = f"data.columns.tokens={text} data.columns.tags={label}"
            raise BadFieldError(f"field {text!r} is a list of words: data/record=tags {names}")
        if isinstance(row.value(label), int | float):
            names = f"data.columns.rating={label}"
            raise BadFieldError(f"field {label!r} is a number: data/record=rating {names}")
        several = isinstance(row.value(label), list)
        names = row.texts(label, may_be_empty=True) if several else row.text(label)
        return Labelled(row.text(text), names, None if second is None else row.text(second))
