"""Encodes conversations: which tokens are trained on, what is dropped, and why."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Bool, Int

from etude import Chat, DataError
from etude.data import Samples, TemplateError, Tokenizer, conversation


class TrainOn(Enum):
    """Which tokens of a conversation are trained on."""

    all = "all"
    last = "last"
    everything = "everything"


@dataclass(frozen=True)
class TrainingSpan:
    """Ids of a conversation, or of one answer with its context, and a mask of trained tokens."""

    ids: Int[np.ndarray, " seq"]
    trained: Bool[np.ndarray, " seq"]
    asks: tuple[int, int] | None = None
    """Start and end of its last answer, if that is complete."""

    @property
    def answer(self) -> tuple[list[int], list[int]] | None:
        """(prompt, last answer) as ids, if the answer is complete."""
        if self.asks is None:
            return None
        first, last = self.asks
        return self.ids[:first].tolist(), self.ids[first:last].tolist()


@dataclass(frozen=True)
class ConversationEncoder:
    """Encodes conversations; with `sources`, each answer becomes a span with its context."""

    tokenizer: Tokenizer
    train_on: TrainOn
    seq_len: int
    sources: bool

    def parts(self, chat: Chat, told: Counter[str] | None = None) -> list[TrainingSpan]:
        """The spans of a conversation with tokens to train on; counts what is truncated.

        Raises TemplateError if the template rejects the conversation, DataError if its output would
        teach something wrong: two bos in a row, or an answer without an end token.
        """
        told = Counter() if told is None else told
        found = conversation(self.tokenizer, chat.messages)
        self._check(found.ids, found.turns)
        turns = range(1, found.n_turns + 1)
        spans = [(int(at[0]), int(at[-1]) + 1) for t in turns if len(at := _where(found.turns, t))]
        spans = spans[-1:] if self.train_on is TrainOn.last else spans
        if self.sources:
            made = [self._with_source(found.ids, span, told) for span in spans]
        else:
            made = [self._in_one(found.ids, spans, told)]
        return [part for part in made if part.trained.any()]

    def _in_one(
        self, ids: np.ndarray, spans: Sequence[tuple[int, int]], told: Counter[str]
    ) -> TrainingSpan:
        """The start of the conversation: one token more than a row has inputs."""
        room = self.seq_len + 1
        trained = np.full(len(ids), self.train_on is TrainOn.everything)
        trained[0] = False  # no token precedes it
        for first, last in spans:
            trained[first:last] = True
            told["answers cut off"] += first >= room
            told["answers cut short"] += first < room < last
        whole = bool(spans) and spans[-1][1] <= room
        return TrainingSpan(ids[:room], trained[:room], spans[-1] if whole else None)

    def _with_source(
        self, ids: np.ndarray, span: tuple[int, int], told: Counter[str]
    ) -> TrainingSpan:
        """The first token and the end of the context, then the start of the answer."""
        first, last = span
        source = np.append(ids[:1], ids[1:first][-(self.seq_len - 1) :])
        answer = ids[first:last][: self.seq_len]
        told["answers cut short"] += len(answer) < last - first
        told["questions cut short"] += len(source) < first
        trained = np.arange(len(source) + len(answer)) >= len(source)
        whole = len(answer) == last - first
        span = (len(source), len(trained))
        return TrainingSpan(np.append(source, answer), trained, span if whole else None)

    def _check(self, ids: np.ndarray, turns: np.ndarray) -> None:
        vocab = self.tokenizer.vocab
        if ((ids[:-1] == vocab.bos) & (ids[1:] == vocab.bos)).any():
            raise DataError(
                "The chat template writes bos twice in a row, which no model was trained on.\n"
                "  Another template=... or a mended one of the tokenizer helps."
            )
        ends = np.flatnonzero((turns > 0) & (np.append(turns[1:], 0) != turns))
        if not np.isin(ids[ends], vocab.stops).all():
            stops = " or ".join(self.tokenizer.pieces(vocab.stops))
            raise DataError(
                "The chat template ends an answer with "
                f"{self.tokenizer.pieces(ids[ends])[0]!r}, and generation stops at {stops}: "
                "a model trained so would never stop.\n"
                "  Another template=... such as template=plain ends each answer with a token."
            )


@dataclass(frozen=True)
class Rows:
    """Input rows; each has the spans of one conversation or of several."""

    rows: Sequence[list[TrainingSpan]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[TrainingSpan]:
        return self.rows[index]


def survey(
    chats: Samples | Sequence[Chat], cutter: ConversationEncoder, pack: bool
) -> tuple[Rows, Counter[str]]:
    """All conversations with tokens to train on, and counts of what was lost.

    Raises DataError if none is left.
    """
    told: Counter[str] = Counter()
    rows: list[list[TrainingSpan]] = []
    for i in range(len(chats)):
        try:
            parts = cutter.parts(chats[i], told)
        except TemplateError as error:
            told[f"conversations refused ({error})"] += 1
            continue
        told["conversations without a token to train on"] += not parts
        rows += [parts] if parts else []
    told = +told
    if not rows:
        lost = "".join(f"\n  {n:,} {what}" for what, n in told.items())
        raise DataError(
            f"None of the {len(chats):,} conversations holds a token to train on.{lost}\n"
            f"  data.seq_len={cutter.seq_len} may be too short for the prompts."
        )
    if pack:
        parts = [part for row in rows for part in row]
        filled = pack_rows([len(part.ids) for part in parts], cutter.seq_len + 1)
        rows = [[parts[i] for i in row] for row in filled]
    return Rows(rows), told


def pack_rows(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of lengths, packed in rows of at most `room`: best fit, longest first."""
    rows: list[list[int]] = []
    left: list[tuple[int, int]] = []  # (room left, row), sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect_left(left, (lengths[i], -1))
        if at == len(left):
            rows.append([])
            insort(left, (room, len(rows) - 1))
            at = len(left) - 1
        free, row = left.pop(at)
        rows[row].append(i)
        insort(left, (free - lengths[i], row))
    return sorted(rows, key=min)


def _where(turns: np.ndarray, turn: int) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(turns == turn)
