"""Prepares the samples of a data config: reads, splits and tokenises records, and caches each step.

The cache key is a digest of everything that affects the result: source, config, tokenizer, code.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import tokenizers

from etude.config.config_file import nodes
from etude.config.plugin_files import source_files
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import DataConfig, TemplateConfig, TextDataConfig, TokenizerConfig
from etude.data import (
    chat_template,
    documents,
    json_rows,
    readers,
    record_file,
    special_tokens,
    token_rows,
    vocab,
)
from etude.data import tokenizer as tokenizer_module
from etude.data.data_card import SHOWN_BAD_ROWS, Card, SplitCard, tokenizer_card, xz_bits_per_byte
from etude.data.record_file import RecordFile, read_bad_rows, read_unused, texts_of, write_records
from etude.data.source import DataSource, Samples
from etude.data.token_rows import TokenRows, write_tokens
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_source import TokenizerSource
from etude.errors import DataError
from etude.files.cache import cached_folder, code_digest, digest_of
from etude.records import Chat, Record, Text, conversion_for

AFTER_READING = {"seq_len", "strict", "pack", "intra_document"}
"""Knobs of the group `data` that do not affect which records are read."""


@dataclass(frozen=True)
class Corpus:
    """The tokenizer, samples and records of a run."""

    tokenizer: Tokenizer
    train: Samples
    val: Samples
    card: Card
    train_records: RecordFile
    val_records: RecordFile

    def val_text(self) -> Iterator[str]:
        """The held-out texts, before tokenisation."""
        return _texts(self.val_records)


@dataclass(frozen=True)
class Records:
    """The records of a source, stored on disk."""

    folder: Path
    kind: type[Record]
    train: RecordFile
    val: RecordFile


def prepare(config: ExperimentConfig, tokenizer: Tokenizer | None = None) -> Corpus:
    """Returns the data of an experiment, tokenised with `tokenizer` or the configured one.

    Raises DataError if the source cannot be read or one side of the split is empty; with
    `data.strict`, also if any row is bad.
    """
    records = read(config.data)
    bad = read_bad_rows(records.folder)
    shown = tuple(f"{row.place}: {row.reason}" for row in bad[:SHOWN_BAD_ROWS])
    if bad and config.data.strict:
        first = f"data.strict=true, and {len(bad)} rows are bad. Fix or remove them:"
        raise DataError("\n  ".join((first, *shown)))
    tokenizer = tokenizer or _tokenizer(config.tokenizer, records)
    if records.kind is Text:
        parts = [plugin_of(node).declaration for _, node in nodes(config.objective)]
        tokenizer = tokenizer.with_tokens(frozenset[str]().union(*(part.tokens for part in parts)))
    reads = plugin_of(config.objective).declaration.reads
    if Chat in reads:
        tokenizer = _with_template(tokenizer, config.template)
    train, val = (_samples(part, config.data, records, tokenizer) for part in ("train", "val"))
    if convert := conversion_for(records.kind, reads):
        train = _ConvertedSamples(train, convert)
        val = _ConvertedSamples(val, convert)
    card = Card(
        source=plugin_of(config.data).address,
        kind=records.kind.__name__,
        train=_split_card(records.train, train),
        val=_split_card(records.val, val),
        tokenizer=tokenizer_card(tokenizer, _texts(records.val)),
        n_bad=len(bad),
        bad_rows=shown,
        unused=read_unused(records.folder),
        xz_bits_per_byte=xz_bits_per_byte(_texts(records.val)) if records.kind is Text else None,
        digest=_digest(records.folder.name, config.data, tokenizer),
    )
    return Corpus(tokenizer, train, val, card, records.train, records.val)


def data_digest(config: DataConfig, tokenizer: Tokenizer) -> str:
    """A digest of the samples; equal digests mean equal samples. Reads no records.

    Raises DataError if the source does not exist.
    """
    return _digest(_records_digest(config, build(config)), config, tokenizer)


def _digest(name: str, config: DataConfig, tokenizer: Tokenizer) -> str:
    return digest_of(name, tokenizer.digest, asdict(config))


@dataclass(frozen=True)
class _ConvertedSamples:
    """Samples converted on access to the kind of record that the objective reads."""

    samples: Samples
    convert: Callable[..., Record]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Record:
        return self.convert(self.samples[index])


def _with_template(tokenizer: Tokenizer, config: TemplateConfig | None) -> Tokenizer:
    """The tokenizer with the configured chat template, else its own, else étude's default."""
    if config is not None:
        return build(config, tokenizer)
    return (
        tokenizer
        if tokenizer.template
        else tokenizer.with_template(chat_template.DEFAULT, chat_template.LITERALS)
    )


def read(config: DataConfig) -> Records:
    """Reads the records of a source, or returns the cached ones. Raises DataError if none exist."""
    plugin = plugin_of(config)
    kind = plugin.declaration.yields
    if kind is None:
        raise DataError(f"{plugin.address} declares no kind of record: add yields= to its @plugin.")
    source: DataSource[DataConfig] = build(config)

    def write(folder: Path) -> None:
        write_records(source.records(), folder, config.val_fraction)

    folder = cached_folder(f"records/{_records_digest(config, source)}", write)
    train, val = (RecordFile(folder, kind, held_out) for held_out in (False, True))
    return Records(folder, kind, train, val)


def _records_digest(config: DataConfig, source: DataSource[DataConfig]) -> str:
    """A digest that changes whenever the records of a source may change."""
    plugin = plugin_of(config)
    knobs = {key: value for key, value in asdict(config).items() if key not in AFTER_READING}
    code = code_digest(*source_files(plugin.file), documents, json_rows, readers, record_file)
    return digest_of(plugin.address, knobs, source.fingerprint(), code)


def _tokenizer(config: TokenizerConfig, records: Records) -> Tokenizer:
    plugin = plugin_of(config)
    source: TokenizerSource[TokenizerConfig] = build(config)
    code = code_digest(*source_files(plugin.file), special_tokens, tokenizer_module)
    inputs = (plugin.address, asdict(config), source.fingerprint(), code, tokenizers.__version__)
    name = digest_of(records.folder.name, inputs)

    def write(folder: Path) -> None:
        source.build(lambda: _texts(records.train)).save(folder)

    return Tokenizer.load(cached_folder(f"tokenizers/{name}", write))


def _samples(part: str, config: DataConfig, records: Records, tokenizer: Tokenizer) -> Samples:
    side = {"train": records.train, "val": records.val}[part]
    if not isinstance(config, TextDataConfig):
        return side
    name = digest_of(records.folder.name, tokenizer.digest, part, code_digest(token_rows, vocab))

    def write(folder: Path) -> None:
        write_tokens(_texts(side), tokenizer, folder)

    return TokenRows(cached_folder(f"tokens/{name}", write), config)


def _texts(records: RecordFile) -> Iterator[str]:
    return chain.from_iterable(map(texts_of, records))


def _split_card(records: RecordFile, samples: Samples) -> SplitCard:
    if isinstance(samples, TokenRows):
        return SplitCard(len(records), len(samples), samples.n_tokens, samples.n_bytes)
    return SplitCard(len(records), len(samples))
