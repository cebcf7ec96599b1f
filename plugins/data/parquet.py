"""Parquet files: rows of named, typed fields.

https://parquet.apache.org/docs/file-format/, read with pyarrow, one row group at a time. Structs
are objects, lists are lists, and the classes of Hugging Face's ClassLabel have their names.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from etude import BadRow, plugin
from etude.data import FilePart, Row, RowFileConfig, RowFileSource

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
        return self.part_fields(FilePart(file))

    def parts(self, file: Path) -> Iterator[FilePart]:
        """The row groups of a file."""
        import pyarrow
        from pyarrow.parquet import read_metadata

        number = 1
        with suppress(OSError, pyarrow.ArrowException):  # the reader of the whole file reports it
            metadata = read_metadata(file)
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            for i, group in enumerate(groups):
                yield FilePart(file, i, i + 1, number, group.total_byte_size)
                number += group.num_rows
            return
        yield FilePart(file)

    def part_fields(self, part: FilePart) -> Iterator[Row | BadRow]:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        from ._arrow import rows_of

        try:
            with ParquetFile(part.file) as opened:
                metadata = json.loads(
                    (opened.schema_arrow.metadata or {}).get(b"huggingface", "{}")
                )
                features = metadata.get("info", {}).get("features", {})
                number = part.number
                groups = range(opened.num_row_groups)[part.start : part.end]
                for batch in opened.iter_batches(BATCH_ROWS, row_groups=groups):
                    table = pyarrow.Table.from_batches([batch])
                    yield from rows_of(table, features, str(part.file), number)
                    number += len(table)
        except (OSError, pyarrow.ArrowException) as error:
            reason = f"is not a Parquet file that can be read to its end: {error}"
            yield BadRow(str(part.file), reason)
