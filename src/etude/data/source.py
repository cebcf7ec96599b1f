"""The group `data`, and the fixed lists of samples that training reads."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from etude.config.schema.plugins import DataConfig
from etude.records import BadRow, Record

DataC = TypeVar("DataC", bound=DataConfig)


class DataSource(ABC, Generic[DataC]):
    """The group `data`: yields the records of one data set, always in the same order."""

    def __init__(self, config: DataC) -> None:
        self.config = config

    @abstractmethod
    def records(self) -> Iterator[Record | BadRow]:
        """Every record, and a BadRow for each row that could not become one.

        Raises DataError when a named file is missing, empty or not what it claims to be.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes whenever the records would: of file bytes, a version, a seed."""


@runtime_checkable
class Samples(Protocol):
    """A fixed list of what an objective's `example` takes: TokenRows, or records."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Take:
    """The first `n` of some samples."""

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
    """Some of the samples, by their places."""

    samples: Samples
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        return self.samples[self.places[index]]
