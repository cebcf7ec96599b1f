"""The contract of the group `data`, and the fixed lists of samples that training reads."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

from etude.config.schema.plugins import DataConfig
from etude.data.file_search import FileList
from etude.records import Record, SourceRow

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


@dataclass(frozen=True)
class SourceSamples:
    """The training samples of one source of a mixture."""

    indices: Int[np.ndarray, " samples"]
    """Their indices in the list of all samples."""
    mean_count: float
    """What the objective counts in a sample on average, such as the tokens it is trained on."""


@runtime_checkable
class MixedOrder(Protocol):
    """An endless order of the samples of a mixture, as a pure function of the position."""

    def __call__(self, position: int) -> tuple[int, int]:
        """The sample at a position, after its number of earlier visits: (epoch, index)."""
        ...

    def n_read(self, n_positions: int) -> Sequence[int]:
        """How many of the first positions have a sample of each source."""
        ...


class MixedSource(DataSource[DataC]):
    """A data source that consists of others, `config.parts`, and decides how often each is read."""

    @abstractmethod
    def order(self, sources: Mapping[str, SourceSamples], n_samples: int, seed: int) -> MixedOrder:
        """The order of a run of `n_samples`. Raises ConfigError if the sources cannot fill it."""


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


@dataclass(frozen=True)
class Converted:
    """Samples converted on access to the kind of record that the objective reads."""

    samples: Samples
    convert: Callable[..., Record]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Record:
        return self.convert(self.samples[index])


class Joined:
    """The samples of several sources, by name.

    The first n of them have about the same share of each source, for every n.
    """

    def __init__(self, parts: Mapping[str, Samples]) -> None:
        self.parts = parts
        sizes = [len(part) for part in parts.values()]
        places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
        order = np.argsort(places, kind="stable")
        self.source: Int[np.ndarray, " samples"] = np.repeat(np.arange(len(sizes)), sizes)[order]
        """The number of the source of each sample."""
        self._index = np.concatenate([np.arange(size) for size in sizes])[order]
        self._parts = [*parts.values()]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._parts[int(self.source[index])][int(self._index[index])]


def each_part(samples: Samples, change: Callable[[Samples], Samples]) -> Samples:
    """The samples after a change; those of a mixture are changed source by source."""
    if not isinstance(samples, Joined):
        return change(samples)
    return Joined({name: change(part) for name, part in samples.parts.items()})


def parts_of(samples: Samples) -> Sequence[Samples]:
    """The samples of each source of a mixture; the samples alone if they are none."""
    return [*samples.parts.values()] if isinstance(samples, Joined) else [samples]


def indices_by_source(samples: Samples) -> Mapping[str, Sequence[int]]:
    """The indices of the samples of each source of a mixture; empty for other samples."""
    if isinstance(samples, Take):
        whole = indices_by_source(samples.samples)
        return {name: [i for i in held if i < len(samples)] for name, held in whole.items()}
    if not isinstance(samples, Joined):
        return {}
    names = enumerate(samples.parts)
    return {name: np.flatnonzero(samples.source == i).tolist() for i, name in names}
