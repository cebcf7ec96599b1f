"""Data sets of the Hugging Face hub, and folders in its formats, through the library `datasets`.

https://huggingface.co/docs/datasets. `data.path` is the name of a data set, a folder that
`save_to_disk` wrote, or a folder of CSV, JSON, Parquet or text files, which may be named by split
(train.csv, validation.csv). The classes of a ClassLabel have their names.

Code of a data set never runs: `datasets` has no support for it from version 4 on, and earlier
versions are not allowed to. The split `test` is refused as training data.
"""

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from omegaconf import MISSING

from etude import DataError, SourceRow, StartOfValidation, plugin, require
from etude.data import DataSource, Row, RowsConfig, records_of
from etude.files import sha256

BATCH_ROWS = 1000
"""Rows that are converted together."""
ANSWER_S = 2.0
"""Time in which the hub must answer, or it counts as out of reach; `datasets` tries for 23 s."""


@dataclass
class HubConfig(RowsConfig):
    path: str = MISSING
    """Name on the hub, such as `stanfordnlp/imdb`, or a local folder."""
    config: str | None = None
    """Configuration (subset) of the data set, such as `wikitext-2-raw-v1`; null = its default."""
    split: str = "train"
    """Split to read, or a part of one, such as `train[:10%]`."""
    val_split: str | None = None
    """Split to hold out, such as `validation`; null = by data.val_fraction."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null = the newest. A commit makes a run reproducible."""
    streaming: bool = False
    """Read rows while they are downloaded, without a copy of the data set on the disk."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_test = re.search(r"\btest\b", self.split) is not None
        require(not is_test, f"split must not be a test split to train on, got {self.split}")
        is_default = self.val_fraction == HubConfig.val_fraction
        why = f"val_fraction has no effect with data.val_split={self.val_split}"
        require(self.val_split is None or is_default, why)


@plugin(HubConfig, example={"path": "{file}This is text #."})
class Hub(DataSource[HubConfig]):
    """Rows in the order of the data set; local files are read without a copy."""

    def __init__(self, config: HubConfig) -> None:
        super().__init__(config)
        self.place = Path(config.path).expanduser()
        if self.place.exists() and (config.revision is not None or config.streaming):
            raise DataError(
                f"data.path={config.path} is local, so data.revision and data.streaming have no "
                "effect.\n  Remove them."
            )

    def records(self) -> Iterator[SourceRow]:
        """Yields what the record makes of the rows of the splits."""
        yield from records_of(self.config, self._rows(self.config.split))
        if self.config.val_split is not None:
            yield StartOfValidation()
            yield from records_of(self.config, self._rows(self.config.val_split))

    def fingerprint(self) -> str:
        """A digest of the contents of local files, or of the commit on the hub."""
        if self.place.exists():
            files = [self.place] if self.place.is_file() else sorted(self.place.rglob("*"))
            contents = "".join(sha256(file) for file in files if file.is_file())
            return hashlib.sha256(contents.encode()).hexdigest()
        from datasets import load_dataset_builder

        config = self.config
        with _explained(config):
            require_answer(config.path)
            builder: Any = load_dataset_builder(
                config.path, config.config, revision=config.revision
            )
            return f"{builder.hash} {builder.config.version}"

    def _rows(self, split: str) -> Iterator[Row]:
        from ._arrow import rows_of

        number = 1
        with _explained(self.config):
            dataset = self._dataset(split)
            features = dataset.features.to_dict() if dataset.features else {}
            for table in dataset.with_format("arrow").iter(BATCH_ROWS):
                yield from rows_of(table, features, f"{self.config.path}/{split}", number)
                number += len(table)

    def _dataset(self, split: str) -> Any:  # a Dataset or IterableDataset
        """The data set of a split, which `datasets` finds on the disk or on the hub."""
        from datasets import DatasetDict, load_dataset, load_from_disk

        config, place = self.config, self.place
        if any((place / name).is_file() for name in ("state.json", "dataset_dict.json")):
            saved = load_from_disk(str(place))
            splits = saved if isinstance(saved, DatasetDict) else {"train": saved}
            if split not in splits:
                raise ValueError(f"Unknown split {split!r}. Available: {[*splits]}")
            return splits[split]
        if place.exists():
            folder, files = (place, None) if place.is_dir() else (place.parent, place.name)
            return load_dataset(
                str(folder), config.config, data_files=files, split=split, streaming=True
            )
        return load_dataset(
            config.path,
            config.config,
            split=split,
            revision=config.revision,
            streaming=config.streaming,
        )


def require_answer(path: str) -> None:
    """Raises ConnectionError if the hub does not answer, unless the data set is in its cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    readme = constants.REPOCARD_NAME  # what `datasets` asks for first
    if constants.HF_HUB_OFFLINE or try_to_load_from_cache(path, readme, repo_type="dataset"):
        return
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=ANSWER_S).close()
    except HTTPError:
        pass  # it answered
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        if not isinstance(reason, SSLError):  # of certificates that only `datasets` knows
            text = f"Couldn't reach {path!r} on the Hub: {constants.ENDPOINT}: {reason}"
            raise ConnectionError(text) from error


@contextmanager
def _explained(config: HubConfig) -> Generator[None]:
    """Raises DataError, with what to do, for the errors of `datasets`."""
    import huggingface_hub.utils.logging as hub_logging
    from datasets import disable_progress_bars
    from datasets.exceptions import DatasetsError

    disable_progress_bars()
    hub_logging.set_verbosity_error()  # a missing network is reported once, not for each retry
    try:
        yield
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"data=hub data.path={config.path}: {error}{advice(config, error)}"
        ) from error


def advice(config: HubConfig, error: Exception) -> str:
    """What to do about an error of `datasets`, as a second line; empty if its message says it."""
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, DatasetNotFoundError):
        page = f"https://huggingface.co/datasets/{config.path}"
        return (
            f"\n  See {page}: a gated data set asks you to accept its terms there, and it and "
            "private ones need a login on this machine: hf auth login."
        )
    if isinstance(error, ConnectionError):
        names = ", ".join(repr(name) for name in (config.path, config.config) if name)
        return (
            "\n  There is neither a network nor a folder of this name. Where there is a network:\n"
            f"    from datasets import load_dataset\n"
            f'    load_dataset({names}).save_to_disk("folder")\n'
            "  Copy the folder here, and set data.path=folder."
        )
    return ""
