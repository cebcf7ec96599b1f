"""The contract of the group `data`, and the fixed lists of samples that training reads."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from etude.config.schema.plugins import DataConfig
from etude.data.file_search import FileList
from etude.records import SourceRow

DataC = TypeVar("DataC", bound=DataConfig)


class DataSource(ABC, Generic[DataC]):
    """The group `data`: yields the records of one data set, always in the same order."""

    def __init__(self, config: DataC) -> None:
        self.config = config

    @abstractmethod
    def records(self) -> Iterator[SourceRow]:
        """Every record, and a BadRow for each row that could not become one.

        Raises DataError if a configured file is missing, empty or of the wrong format.
        """

    def files(self) -> FileList:
        """The files that it reads; empty for a source without files."""
        return FileList()

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes whenever the records change: of file bytes, a version, a seed."""


@runtime_checkable
class Samples(Protocol):
    """A fixed list of inputs for an objective's `example`: TokenRows, or records."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Take:
    """The first `n` samples."""

    samples: Samples
    n: int

    def __len__(self) -> int:
        return min(self.n, len(self.samples))

    def __getitem__(self, index: int) -> Any:
        if index >= len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self.samples[index]


@dataclass(frozen=True)
class Subset:
    """The samples at the given indices."""

    samples: Samples
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.samples[self.indices[index]]
