"""Prepares the samples of a data config: reads, splits and tokenises records, and caches each step.

The cache key is a digest of everything that affects the result: source, config, tokenizer, code.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path

import tokenizers

from etude.config.config_file import config_of_parent, nodes
from etude.config.plugin_files import source_files
from etude.config.record_kind import kind_of, text_config
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.filter import FilterConfig
from etude.config.schema.plugins import DataConfig, TokenizerConfig
from etude.data import record_file, special_tokens, token_rows, training_texts, vocab
from etude.data import tokenizer as tokenizer_module
from etude.data.complete_tokenizer import complete_tokenizer
from etude.data.data_card import (
    SHOWN_BAD_ROWS,
    Card,
    SplitCard,
    TokenizerCard,
    mixture_card,
    tokenizer_card,
    tokenizer_digest,
    xz_baseline,
)
from etude.data.file_search import FileList
from etude.data.filtering import FilterReport, apply_filters, filtered_digest
from etude.data.reading import AFTER_READING, read_batches, records_digest
from etude.data.record_file import RecordFile, read_bad_rows, read_unused, texts_of, write_batches
from etude.data.source import Converted, DataSource, Joined, Samples
from etude.data.token_rows import PartEncoder, TokenRows, write_parts, write_tokens
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_source import TokenizerSource
from etude.data.training_texts import TrainingTexts
from etude.data.workers import Workers, workers
from etude.errors import DataError
from etude.files.cache import cached_folder, code_digest, digest_of
from etude.records import Record, Text, conversion_for

CUT_WORDS = "cut_words.json"
"""The file next to a trained tokenizer with the number of words that were cut to train it."""


@dataclass(frozen=True)
class Corpus:
    """The tokenizer, samples and records of a run."""

    tokenizer: Tokenizer
    train: Samples
    val: Samples
    card: Card
    sources: "Mapping[str, Records]"
    """The records of each source of a mixture, by name; otherwise those of the only source."""

    @property
    def train_records(self) -> Iterator[Record]:
        """The training records, source by source."""
        return chain.from_iterable(one.train for one in self.sources.values())

    def val_text(self) -> Iterator[str]:
        """The held-out texts, before tokenisation."""
        return chain.from_iterable(_texts(one.val) for one in self.sources.values())


@dataclass(frozen=True)
class Records:
    """The records of a source, stored on disk."""

    folder: Path
    digest: str
    kind: type[Record]
    train: RecordFile
    val: RecordFile
    files: FileList
    source: Path
    """The folder of the records before the filters; `folder` if there are none."""
    filters: FilterReport | None = None
    """What the filters dropped and changed; None if there are none."""


def prepare(config: ExperimentConfig, tokenizer: Tokenizer | None = None) -> Corpus:
    """Returns the data of an experiment, tokenised with `tokenizer` or the configured one.

    Raises DataError if the source cannot be read or one side of the split is empty; with
    `data.strict`, also if any row is bad.
    """
    parts = config.data.parts
    with workers() as pool, ThreadPoolExecutor(1) as other_thread:
        sources = {name: read(part, config.filter, pool) for name, part in parts.items()}
        if config.data.strict:
            _refuse_bad_rows(sources)
        xz = {name: other_thread.submit(_baseline, one) for name, one in sources.items()}
        given, cut_words = (tokenizer, 0) if tokenizer else _tokenizer(config.tokenizer, sources)
        tokenizer = complete_tokenizer(given, config)
        train, val = (
            {name: _samples(side, config, one, tokenizer, pool) for name, one in sources.items()}
            for side in ("train", "val")
        )
    digest = _digest(_joined_digest([one.digest for one in sources.values()]), config, tokenizer)
    cards: dict[str, Card] = {}
    for name, records in sources.items():
        measured = tokenizer_card(tokenizer, _texts(records.val), cut_words)
        made = _card(parts[name], records, (train[name], val[name]), measured, digest)
        cards[name] = replace(made, xz_bits_per_byte=xz[name].result())
    if len(sources) == 1:
        (name,) = sources
        return Corpus(tokenizer, train[name], val[name], cards[name], sources)
    card = mixture_card(plugin_of(config.data).address, cards)
    return Corpus(tokenizer, Joined(train), Joined(val), card, sources)


def _refuse_bad_rows(sources: Mapping[str, Records]) -> None:
    for records in sources.values():
        n_bad, shown = _bad_rows(records)
        if n_bad:
            first = f"data.strict=true, and {n_bad} rows are bad. Fix or remove them:"
            raise DataError("\n  ".join((first, *shown)))


def _card(
    config: DataConfig,
    records: Records,
    samples: tuple[Samples, Samples],
    tokenizer: TokenizerCard,
    digest: str,
) -> Card:
    n_bad, shown = _bad_rows(records)
    unused, noted = read_unused(records.folder)
    return Card(
        source=plugin_of(config).address,
        kind=records.kind.__name__,
        train=_split_card(records.train, samples[0]),
        val=_split_card(records.val, samples[1]),
        tokenizer=tokenizer,
        n_bad=n_bad,
        bad_rows=shown,
        filters=records.filters,
        unused=unused,
        noted=noted,
        n_files=len(records.files.paths),
        skipped=records.files.skipped,
        val_fraction=None if record_file.read_n_train(records.folder) else config.val_fraction,
        digest=digest,
    )


def _baseline(records: Records) -> float | None:
    """Bits per byte of the held-out text under xz; None for other kinds of record."""
    if records.kind is not Text:
        return None
    return xz_baseline(records.folder.name, _texts(records.val))


def _bad_rows(records: Records) -> tuple[int, tuple[str, ...]]:
    """The number of bad rows, and the first ones as `file:line: reason`."""
    bad = read_bad_rows(records.folder)
    shown = tuple(f"{row.place}: {row.reason}" for row in islice(bad, SHOWN_BAD_ROWS))
    return len(shown) + sum(1 for _ in bad), shown


def data_digest(config: ExperimentConfig, tokenizer: Tokenizer) -> str:
    """A digest of the samples; equal digests mean equal samples. Reads no records.

    Raises DataError if the source does not exist.
    """
    digests = [records_digest(part, build(part)) for part in config.data.parts.values()]
    if config.filter:
        digests = [filtered_digest(one, config.filter) for one in digests]
    return _digest(_joined_digest(digests), config, tokenizer)


def _joined_digest(digests: Sequence[str]) -> str:
    """The digest of several sources; that of the only one if there is one."""
    return digests[0] if len(digests) == 1 else digest_of(*digests)


def _digest(records: str, config: ExperimentConfig, tokenizer: Tokenizer) -> str:
    """A digest of the records, of how they become samples, and of the data of earlier runs."""
    knobs = {key: value for key, value in asdict(config.data).items() if key in AFTER_READING}
    earlier = [
        data_digest(config_of_parent(f"{path}.{knob}", run), tokenizer)
        for path, node in nodes(config)
        for knob, run in node.rereads.items()
        if run is not None
    ]
    return digest_of(records, tokenizer_digest(tokenizer), knobs, earlier)


def read(
    config: DataConfig,
    filters: Mapping[str, FilterConfig] | None = None,
    pool: Workers | None = None,
) -> Records:
    """Reads the records of a source, or returns the cached ones, and applies the filters to them.

    With a pool, in several processes.

    Raises DataError if none exist, or if the filters keep none.
    """
    kind = kind_of(config)
    if kind is None:
        address = plugin_of(config.reader).address
        raise DataError(f"{address} declares no kind of record: add yields= to its @plugin.")
    source: DataSource[DataConfig] = build(config)

    def write(folder: Path) -> None:
        write_batches(read_batches(source, pool), folder, config.val_fraction)

    digest = records_digest(config, source)
    name = digest_of(digest, source.files().paths)  # bad rows contain the names of their files
    folder = cached_folder(f"records/{name}", write)
    source_folder, report = folder, None
    if filters:
        share = config.val_fraction
        folder, digest, report = apply_filters(folder, kind, digest, filters, share, pool)
    train, val = (RecordFile(folder, kind, held_out) for held_out in (False, True))
    return Records(folder, digest, kind, train, val, source.files(), source_folder, report)


def _tokenizer(config: TokenizerConfig, sources: Mapping[str, Records]) -> tuple[Tokenizer, int]:
    """The configured tokenizer, and how many words were cut to train it."""
    plugin = plugin_of(config)
    source: TokenizerSource[TokenizerConfig] = build(config)
    code = code_digest(*source_files(plugin.file), special_tokens, tokenizer_module, training_texts)
    inputs = (plugin.address, asdict(config), source.fingerprint(), code, tokenizers.__version__)
    name = digest_of(*(one.folder.name for one in sources.values()), inputs)

    def write(folder: Path) -> None:
        records = [one.train for one in sources.values()]
        texts = TrainingTexts(lambda: chain.from_iterable(map(_texts, records)))
        source.build(texts).save(folder)
        (folder / CUT_WORDS).write_text(str(texts.n_cut_words), encoding="utf-8")

    folder = cached_folder(f"tokenizers/{name}", write)
    return Tokenizer.load(folder), int((folder / CUT_WORDS).read_text(encoding="utf-8"))


def _samples(
    part: str, config: ExperimentConfig, records: Records, tokenizer: Tokenizer, pool: Workers
) -> Samples:
    """One side of the split of a source, as the kind of record that the objective reads."""
    side = {"train": records.train, "val": records.val}[part]
    if (text := text_config(config.data)) is None:
        samples: Samples = side
        kind = kind_of(config.data) or records.kind
        reads = plugin_of(config.objective).declaration.reads
        for given, wanted in ((records.kind, {kind}), (kind, reads)):
            if convert := conversion_for(given, wanted):
                samples = Converted(samples, convert)
        return samples
    name = digest_of(records.folder.name, tokenizer.digest, part, code_digest(token_rows, vocab))

    def write(folder: Path) -> None:
        if pool.pay(side.n_bytes):
            parts = pool.map(PartEncoder(side, tokenizer), side.parts())
            write_parts(chain.from_iterable(parts), tokenizer.vocab, folder)
        else:
            write_tokens(_texts(side), tokenizer, folder)

    return TokenRows(cached_folder(f"tokens/{name}", write), text)


def _texts(records: RecordFile) -> Iterator[str]:
    return chain.from_iterable(map(texts_of, records))


def _split_card(records: RecordFile, samples: Samples) -> SplitCard:
    if isinstance(samples, TokenRows):
        sizes = samples.n_tokens, samples.n_bytes, *samples.n_cut
        return SplitCard(len(records), len(samples), *sizes)
    return SplitCard(len(records), len(samples))
