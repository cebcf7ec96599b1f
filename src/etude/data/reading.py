"""Reads the records of a source, in several processes where its files can be cut.

The result does not depend on the number of processes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, groupby
from typing import Any, Final

from etude.config.config_file import nodes
from etude.config.plugin_files import source_files
from etude.config.registry import build, plugin_of
from etude.config.schema.plugins import DataConfig
from etude.data import (
    documents,
    file_parts,
    json_rows,
    line_file,
    readers,
    record_file,
    record_json,
    row_batch,
    rows,
)
from etude.data.file_parts import FilePart
from etude.data.readers import FileSource
from etude.data.record_file import RowBatch, batches_of
from etude.data.source import DataSource
from etude.data.workers import Workers
from etude.files.cache import code_digest, digest_of
from etude.records import StartOfValidation

MAX_PART_BYTES: Final = 2**25
"""Larger parts are read by this process, which need not keep all their rows in memory."""
AFTER_READING: Final = {"seq_len", "strict", "pack", "intra_document"}
"""Knobs of the group `data` that do not affect which records are read."""
PATHS: Final = {"path", "val_path"}
"""Knobs of a FileSource whose files' contents matter, but not their names."""


@dataclass(frozen=True)
class PartReader:
    """Reads the rows of a part of a file; a StartOfValidation between the parts is a row."""

    config: DataConfig

    @cached_property
    def _source(self) -> FileSource[Any]:  # Any: the type of the config
        return build(self.config)

    def __call__(self, part: FilePart | StartOfValidation) -> list[RowBatch]:
        return [*self.batches(part)]

    def batches(self, part: FilePart | StartOfValidation) -> Iterator[RowBatch]:
        """Yields the rows in batches."""
        is_part = isinstance(part, FilePart)
        return batches_of(self._source.part_rows(part) if is_part else (part,))


def read_batches(source: DataSource[DataConfig], pool: Workers | None) -> Iterator[RowBatch]:
    """Yields the rows of a source, in order, read by `pool` where that pays."""
    n_bytes = sum(file.stat().st_size for file in source.files().paths)
    if pool is None or not isinstance(source, FileSource) or not pool.pay(n_bytes):
        return batches_of(source.records())
    read = PartReader(source.config)
    return chain.from_iterable(
        chain.from_iterable(pool.map(read, parts) if is_small else map(read.batches, parts))
        for is_small, parts in groupby(source.all_parts(), _is_small)
    )


def _is_small(part: FilePart | StartOfValidation) -> bool:
    if isinstance(part, StartOfValidation):
        return True
    return part.n_bytes is not None and part.n_bytes <= MAX_PART_BYTES


def records_digest(config: DataConfig, source: DataSource[DataConfig]) -> str:
    """A digest that changes whenever the records of a source may change.

    The names of a FileSource's files do not matter, only their contents and their order.
    """
    plugins = [plugin_of(node) for _, node in nodes(config)]
    ignored = AFTER_READING | (PATHS if isinstance(source, FileSource) else set[str]())
    knobs = {key: value for key, value in asdict(config).items() if key not in ignored}
    files = chain.from_iterable(source_files(plugin.file) for plugin in plugins)
    own = (documents, file_parts, json_rows, line_file, readers, rows)
    own = (*own, record_file, record_json, row_batch)
    code = code_digest(*files, *own)
    return digest_of([one.address for one in plugins], knobs, source.fingerprint(), code)
