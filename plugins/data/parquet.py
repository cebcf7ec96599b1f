"""Parquet files: rows of named, typed fields.

https://parquet.apache.org/docs/file-format/, read with pyarrow, one row group at a time. Structs
are objects, lists are lists, and the classes of Hugging Face's ClassLabel have their names.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, plugin
from etude.data import Row, RowFileConfig, RowFileSource

BATCH_ROWS = 1024
"""Rows that are converted together."""


@dataclass
class ParquetConfig(RowFileConfig):
    """No knobs of its own."""


@plugin(ParquetConfig)
class Parquet(RowFileSource[ParquetConfig]):
    """Dates, times and decimals become text."""

    suffixes = (".parquet",)

    def fields(self, file: Path) -> Iterator[Row | BadRow]:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        from ._arrow import rows_of

        try:
            with ParquetFile(file) as opened:
                metadata = json.loads(
                    (opened.schema_arrow.metadata or {}).get(b"huggingface", "{}")
                )
                features = metadata.get("info", {}).get("features", {})
                number = 1
                for batch in opened.iter_batches(BATCH_ROWS):
                    table = pyarrow.Table.from_batches([batch])
                    yield from rows_of(table, features, str(file), number)
                    number += len(table)
        except (OSError, pyarrow.ArrowException) as error:
            yield BadRow(str(file), f"is not a Parquet file that can be read to its end: {error}")
