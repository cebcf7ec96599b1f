"""From a data config to samples: records read, split, tokenised and kept, each step done once.

What is kept is named by a digest of everything that shaped it: source, config, tokenizer, code.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import tokenizers

from etude.config.plugin_files import source_files
from etude.config.registry import build, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import DataConfig, TemplateConfig, TextDataConfig, TokenizerConfig
from etude.data import chat_template, documents, readers, record_file, token_rows
from etude.data import tokenizer as tokenizer_module
from etude.data.data_card import SHOWN_BAD_ROWS, Card, SplitCard, tokenizer_card, xz_bits_per_byte
from etude.data.record_file import RecordFile, read_bad_rows, texts_of, write_records
from etude.data.source import DataSource, Samples
from etude.data.token_rows import TokenRows, write_tokens
from etude.data.tokenizer import Tokenizer, TokenizerSource
from etude.errors import DataError
from etude.files.cache import cached, code_digest, digest_of
from etude.records import Chat, Record, Text, lift_of

AFTER_READING = {"seq_len", "strict", "pack", "intra_document"}
"""Keys of the group `data` that do not change which records there are."""


@dataclass(frozen=True)
class Corpus:
    """What a run learns from."""

    tokenizer: Tokenizer
    train: Samples
    val: Samples
    card: Card
    train_records: RecordFile
    val_records: RecordFile

    def val_text(self) -> Iterator[str]:
        """The held-out texts, as they were before any tokenizer."""
        return _texts(self.val_records)


@dataclass(frozen=True)
class Records:
    """The records of a source after reading, on disk."""

    folder: Path
    kind: type[Record]
    train: RecordFile
    val: RecordFile


def prepare(config: ExperimentConfig, tokenizer: Tokenizer | None = None) -> Corpus:
    """Returns the samples that `config` asks for, ids from `tokenizer` where one is given.

    Raises DataError when the source cannot be read or leaves a side of the split empty; with
    `data.strict`, also when any row is bad.
    """
    records = read(config.data)
    bad = read_bad_rows(records.folder)
    shown = tuple(f"{row.place}: {row.reason}" for row in bad[:SHOWN_BAD_ROWS])
    if bad and config.data.strict:
        first = f"{len(bad)} bad rows, and data.strict=true; the first of them:"
        raise DataError("\n  ".join((first, *shown)))
    tokenizer = tokenizer or _tokenizer(config.tokenizer, records)
    reads = plugin_of(config.objective).declaration.reads
    if Chat in reads:
        tokenizer = _speaking(tokenizer, config.template)
    train, val = (_samples(part, config.data, records, tokenizer) for part in ("train", "val"))
    if lift := lift_of(records.kind, reads):
        train = _Lifted(train, lift)
        val = _Lifted(val, lift)
    card = Card(
        source=plugin_of(config.data).address,
        kind=records.kind.__name__,
        train=_split_card(records.train, train),
        val=_split_card(records.val, val),
        tokenizer=tokenizer_card(tokenizer, _texts(records.val)),
        n_bad=len(bad),
        bad_rows=shown,
        xz_bits_per_byte=xz_bits_per_byte(_texts(records.val)) if records.kind is Text else None,
        digest=_digest(records.folder.name, config.data, tokenizer),
    )
    return Corpus(tokenizer, train, val, card, records.train, records.val)


def data_digest(config: DataConfig, tokenizer: Tokenizer) -> str:
    """Equal digests mean equal samples; the source is looked at, and no record is read.

    Raises DataError when the source is gone.
    """
    return _digest(_name_of(config, build(config)), config, tokenizer)


def _digest(name: str, config: DataConfig, tokenizer: Tokenizer) -> str:
    return digest_of(name, tokenizer.digest, asdict(config))


@dataclass(frozen=True)
class _Lifted:
    """Records as the kind that an objective reads."""

    samples: Samples
    lift: Callable[..., Record]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Record:
        return self.lift(self.samples[index])


def _speaking(tokenizer: Tokenizer, config: TemplateConfig | None) -> Tokenizer:
    """The tokenizer with the template chosen; else with its own, or étude's."""
    if config is not None:
        return build(config, tokenizer)
    return (
        tokenizer
        if tokenizer.template
        else tokenizer.with_template(chat_template.DEFAULT, chat_template.LITERALS)
    )


def read(config: DataConfig) -> Records:
    """Reads the records of a source, once. Raises DataError when there is none."""
    chosen = plugin_of(config)
    kind = chosen.declaration.yields
    if kind is None:
        raise DataError(f"{chosen.address} does not declare the kind of record it yields.")
    source: DataSource[DataConfig] = build(config)

    def write(folder: Path) -> None:
        write_records(source.records(), folder, config.val_fraction)

    folder = cached(f"records/{_name_of(config, source)}", write)
    train, val = (RecordFile(folder, kind, held_out) for held_out in (False, True))
    return Records(folder, kind, train, val)


def _name_of(config: DataConfig, source: DataSource[DataConfig]) -> str:
    """Changes whenever the records of a source could."""
    chosen = plugin_of(config)
    shaping = {key: value for key, value in asdict(config).items() if key not in AFTER_READING}
    code = code_digest(*source_files(chosen.file), documents, readers, record_file)
    return digest_of(chosen.address, shaping, source.fingerprint(), code)


def _tokenizer(config: TokenizerConfig, records: Records) -> Tokenizer:
    chosen = plugin_of(config)
    source: TokenizerSource[TokenizerConfig] = build(config)
    code = code_digest(*source_files(chosen.file), tokenizer_module)
    made_by = (chosen.address, asdict(config), source.fingerprint(), code, tokenizers.__version__)
    name = digest_of(records.folder.name, made_by)

    def write(folder: Path) -> None:
        source.build(lambda: _texts(records.train)).save(folder)

    return Tokenizer.load(cached(f"tokenizers/{name}", write))


def _samples(part: str, config: DataConfig, records: Records, tokenizer: Tokenizer) -> Samples:
    held = {"train": records.train, "val": records.val}[part]
    if not isinstance(config, TextDataConfig):
        return held
    name = digest_of(records.folder.name, tokenizer.digest, part, code_digest(token_rows))

    def write(folder: Path) -> None:
        write_tokens(_texts(held), tokenizer, folder)

    return TokenRows(cached(f"tokens/{name}", write), config)


def _texts(records: RecordFile) -> Iterator[str]:
    return chain.from_iterable(map(texts_of, records))


def _split_card(records: RecordFile, samples: Samples) -> SplitCard:
    if isinstance(samples, TokenRows):
        return SplitCard(len(records), len(samples), samples.n_tokens, samples.n_bytes)
    return SplitCard(len(records), len(samples))
