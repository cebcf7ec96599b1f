"""Rows of Arrow tables, with the names of their classes instead of numbers.

Arrow gives every struct all its keys and fills the missing ones with null, so nulls in objects are
left out, as in the JSON that they come from. Hugging Face's features name the classes of a
ClassLabel; -1 means that there is no label (https://huggingface.co/docs/datasets/about_dataset_features).
"""

from collections.abc import Iterator
from typing import Any, cast

import pyarrow

from etude.data import Row

JSON = (str, bool, int, float, dict, list, bytes)


def rows_of(table: pyarrow.Table, features: Any, place: str, first: int) -> Iterator[Row]:
    """A row for each row of a table, `place:number`; `features` are those of Hugging Face."""
    for number, fields in enumerate(table.to_pylist(), start=first):
        yield Row(f"{place}:{number}", _plain(fields, features))


def _plain(value: Any, feature: Any) -> Any:  # Any: JSON, or features as JSON
    """A value as JSON has it."""
    kind = feature.get("_type") if isinstance(feature, dict) else None
    if kind == "ClassLabel" and isinstance(value, int):
        return feature["names"][value] if value >= 0 else None
    if isinstance(value, list):
        inner = feature.get("feature") if kind else feature and feature[0]
        return [_plain(item, inner) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        known = feature.get("feature") if kind else feature
        known = known if isinstance(known, dict) else {}
        items = cast("dict[str, Any]", value).items()
        return {k: _plain(v, known.get(k)) for k, v in items if v is not None}
    return value if value is None or isinstance(value, JSON) else str(value)
