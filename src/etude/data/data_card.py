"""The data card of a run: record counts, bad rows, and how well the tokenizer fits the text."""

import json
import lzma
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from etude.data.file_search import describe_skipped
from etude.data.filtering import FilterReport
from etude.data.record_file import is_near
from etude.data.token_rows import encoded
from etude.data.tokenizer import Tokenizer
from etude.data.training_texts import MAX_WORD_CHARS
from etude.files.cache import cached_folder, code_digest, digest_of
from etude.files.run_folder import CARD
from etude.files.seal import write_sealed

SHOWN_BAD_ROWS = 20
REPORTED_TEXTS = 256
XZ_BYTES = 8_000_000


@dataclass(frozen=True)
class SplitCard:
    """The size of one side of the split; `tokens` and `bytes` are set for raw text only."""

    records: int
    rows: int
    tokens: int | None = None
    bytes: int | None = None
    cut_documents: int = 0
    """Documents that are longer than a row, whose ends `data.pack=false` leaves out."""
    cut_tokens: int = 0
    """Tokens in those ends."""


@dataclass(frozen=True)
class TokenizerCard:
    """Statistics of a tokenizer on the first held-out texts."""

    vocab_size: int
    bytes_per_token: float
    round_trip: float
    """Fraction of texts that decode(encode(text)) reproduces exactly."""
    unknown: float
    """Fraction of tokens that are `unk`."""
    digest: str
    """Equal digests mean equal encodings, roles and chat templates."""
    cut_words: int
    """Words that were cut to train it, because they are longer than MAX_WORD_CHARS."""


@dataclass(frozen=True)
class PlannedSource:
    """What a run reads of a source of a mixture."""

    samples: int
    share: float
    """Its share of what is trained on, such as tokens."""
    epochs: float


@dataclass(frozen=True)
class Card:
    """Summary of the data of a run."""

    source: str
    kind: str
    train: SplitCard
    val: SplitCard
    val_fraction: float | None
    """The requested share of held-out records; None = the source has a split of its own."""
    tokenizer: TokenizerCard
    n_bad: int
    bad_rows: tuple[str, ...]
    """The first bad rows, as `file:line: reason`."""
    digest: str
    """Equal digests mean equal samples."""
    filters: FilterReport | None = None
    """What the filters dropped and changed; None if there are none."""
    unused: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many rows have each part that no record contains, such as a field."""
    noted: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many rows were read by each rule for rows without an obvious reading."""
    n_files: int = 0
    """Number of files that were read."""
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many files and folders below `data.path` were not read, by kind."""
    xz_bits_per_byte: float | None = None
    """Bits per byte of the held-out text under `xz -9e`: a baseline for val/bits_per_byte."""
    sources: "Mapping[str, Card]" = field(default_factory=dict[str, "Card"])
    """The cards of the sources of a mixture, by name."""
    planned: Mapping[str, PlannedSource] = field(default_factory=dict[str, PlannedSource])
    """What the run reads of each of them."""

    def save(self, folder: Path) -> None:
        """Writes data_card.json."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        write_sealed(folder / CARD, text + "\n")

    def __str__(self) -> str:
        """A few lines of plain text for the terminal."""
        card = self.tokenizer
        lines = [
            f"data      {self.source}: {self.kind}, digest {self.digest[:12]}",
            *([f"files     {self.n_files:,} read"] if self.n_files else []),
            *([f"          not read: {describe_skipped(self.skipped)}"] if self.skipped else []),
            *_filter_lines(self.filters),
            f"train     {_describe(self.train)}",
            *_cut_lines(self.train),
            f"val       {_describe(self.val)}{self._share()}",
            *_cut_lines(self.val),
            *(line for name, one in self.sources.items() for line in one.source_lines(name)),
            f"tokenizer {card.vocab_size:,} ids, {card.bytes_per_token:.2f} bytes per token, "
            f"{card.round_trip:.1%} of texts round-trip exactly, {card.unknown:.2%} unknown",
        ]
        if card.cut_words:
            lines.append(
                f"          {card.cut_words:,} words longer than {MAX_WORD_CHARS} characters were "
                "cut, only to train the tokenizer"
            )
        if self.xz_bits_per_byte is not None:
            lines.append(f"baseline  {self.xz_bits_per_byte:.3f} bits per byte: xz -9e on val")
        lines += self._unread_lines()
        lines += [f"note      {rule}: {n:,} rows" for rule, n in self.noted.items()]
        return "\n".join(lines)

    def lost_lines(self) -> list[str]:
        """Lines on what of the data is in no sample: by filter, as bad rows, as unused parts."""
        return [*_filter_lines(self.filters), *self._unread_lines()]

    def _unread_lines(self) -> list[str]:
        lines: list[str] = []
        if self.n_bad:
            more = self.n_bad - len(self.bad_rows)
            lines += [f"bad rows  {self.n_bad:,}", *(f"  {row}" for row in self.bad_rows)]
            lines += [f"  and {more:,} more"] if more else []
        return lines + [f"not used  {part} of {n:,} rows" for part, n in self.unused.items()]

    def source_lines(self, name: str) -> list[str]:
        """The lines about it as a source of a mixture."""
        sizes = f"{_describe(self.train)}; held out {_describe(self.val)}"
        return [f"source    {name} ({self.source}): {sizes}", *_filter_lines(self.filters)]

    def _share(self) -> str:
        """The share of held-out records next to the requested one."""
        share = self.val.records / (self.train.records + self.val.records)
        shown = f", {share:.1%} of the records"
        if self.train.bytes and self.val.bytes:
            shown += f" and {self.val.bytes / (self.train.bytes + self.val.bytes):.1%} of the bytes"
        if self.val_fraction is None:
            return f"{shown} (the split of the source)"
        shown += f" (data.val_fraction={self.val_fraction:g}"
        reason = "; equal records, and records of one prompt, are never separated"
        return shown + (")" if is_near(share, self.val_fraction) else f"{reason})")


def mixture_card(source: str, cards: Mapping[str, Card]) -> Card:
    """The card of a mixture: the sums over its sources, and their cards."""
    first, *_ = every = [*cards.values()]
    return replace(
        first,
        source=source,
        kind="+".join(dict.fromkeys(one.kind for one in every)),
        train=_sum([one.train for one in every]),
        val=_sum([one.val for one in every]),
        n_bad=sum(one.n_bad for one in every),
        bad_rows=tuple(row for one in every for row in one.bad_rows)[:SHOWN_BAD_ROWS],
        filters=None,
        unused=_counts(one.unused for one in every),
        noted=_counts(one.noted for one in every),
        n_files=sum(one.n_files for one in every),
        skipped=_counts(one.skipped for one in every),
        xz_bits_per_byte=None,
        sources=cards,
    )


def tokenizer_card(tokenizer: Tokenizer, texts: Iterable[str], cut_words: int) -> TokenizerCard:
    """Measures a tokenizer on the first REPORTED_TEXTS texts."""
    n_bytes = n_tokens = n_unknown = 0
    same: list[bool] = []
    for text, ids in chain.from_iterable(encoded(islice(texts, REPORTED_TEXTS), tokenizer)):
        n_bytes += len(text.encode())
        n_tokens += len(ids)
        n_unknown += int((ids == tokenizer.vocab.unk).sum())
        same.append(tokenizer.decode(ids) == text)
    return TokenizerCard(
        vocab_size=tokenizer.vocab.size,
        bytes_per_token=n_bytes / max(1, n_tokens),
        round_trip=sum(same) / max(1, len(same)),
        unknown=n_unknown / max(1, n_tokens),
        digest=tokenizer_digest(tokenizer),
        cut_words=cut_words,
    )


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """A digest that changes whenever an encoding, a role or the chat template may change."""
    return digest_of(tokenizer.digest, tokenizer.template)


def xz_bits_per_byte(texts: Iterable[str]) -> float:
    """Compressed size of the first XZ_BYTES of the texts under `xz -9e`, in bits per byte."""
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 2**23}
    compressor = lzma.LZMACompressor(filters=[extreme])  # a dictionary of 64 MiB finds no more
    before = after = 0
    for text in texts:
        data = text.encode()[: XZ_BYTES - before]
        before += len(data)
        after += len(compressor.compress(data))
        if before == XZ_BYTES:
            break
    return 8 * (after + len(compressor.flush())) / max(1, before)


def xz_baseline(records: str, texts: Iterable[str]) -> float:
    """`xz_bits_per_byte` of the texts of these records; cached, since it takes seconds."""

    def write(folder: Path) -> None:
        (folder / "bits_per_byte.json").write_text(str(xz_bits_per_byte(texts)), encoding="utf-8")

    folder = cached_folder(f"baselines/{digest_of(records, code_digest(Path(__file__)))}", write)
    return float((folder / "bits_per_byte.json").read_text(encoding="utf-8"))


def _describe(split: SplitCard) -> str:
    if split.tokens is None or split.bytes is None:
        return f"{split.records:,} records"
    return (
        f"{split.records:,} documents, {split.bytes:,} bytes, {split.tokens:,} tokens, "
        f"{split.rows:,} rows"
    )


def _sum(sides: Sequence[SplitCard]) -> SplitCard:
    """The sums of the sizes."""
    return SplitCard(
        records=sum(side.records for side in sides),
        rows=sum(side.rows for side in sides),
        tokens=_total(side.tokens for side in sides),
        bytes=_total(side.bytes for side in sides),
        cut_documents=sum(side.cut_documents for side in sides),
        cut_tokens=sum(side.cut_tokens for side in sides),
    )


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None  # all sources have the same kind


def _counts(parts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    total = Counter[str]()
    for part in parts:
        total.update(part)
    return dict(total)


def _filter_lines(filters: FilterReport | None) -> list[str]:
    if filters is None:
        return []
    first, *rest = filters.lines()
    return [f"filters   {first}", *(f"          {line}" for line in rest)]


def _cut_lines(split: SplitCard) -> list[str]:
    if not split.cut_documents or split.tokens is None:
        return []
    return [
        f"          data.pack=false cuts {split.cut_documents:,} documents at data.seq_len: "
        f"{split.cut_tokens:,} tokens ({split.cut_tokens / split.tokens:.1%}) are never read"
    ]
