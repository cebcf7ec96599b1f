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
    answer_range: tuple[int, int] | None = None
    """Start and end of its last answer, if that is complete."""

    @property
    def answer(self) -> tuple[list[int], list[int]] | None:
        """(prompt, last answer) as ids, if the answer is complete."""
        if self.answer_range is None:
            return None
        start, end = self.answer_range
        return self.ids[:start].tolist(), self.ids[start:end].tolist()


@dataclass(frozen=True)
class ConversationEncoder:
    """Encodes conversations; with `sources`, each answer becomes a span with its context."""

    tokenizer: Tokenizer
    train_on: TrainOn
    seq_len: int
    sources: bool

    def spans(self, chat: Chat, counts: Counter[str] | None = None) -> list[TrainingSpan]:
        """The spans of a conversation with tokens to train on; counts what is truncated.

        Raises TemplateError if the template rejects the conversation, DataError if its output would
        teach something wrong: two bos in a row, or an answer without an end token.
        """
        counts = Counter() if counts is None else counts
        encoded = conversation(self.tokenizer, chat.messages)
        self._check(encoded.ids, encoded.turns)
        places = [np.flatnonzero(encoded.turns == turn + 1) for turn in range(encoded.n_turns)]
        answers = [(int(place[0]), int(place[-1]) + 1) for place in places if len(place)]
        answers = answers[-1:] if self.train_on is TrainOn.last else answers
        if self.sources:
            spans = [self._with_source(encoded.ids, answer, counts) for answer in answers]
        else:
            spans = [self._whole(encoded.ids, answers, counts)]
        return [span for span in spans if span.trained.any()]

    def _whole(
        self, ids: np.ndarray, answers: Sequence[tuple[int, int]], counts: Counter[str]
    ) -> TrainingSpan:
        """The start of the conversation: one token more than a row has inputs."""
        room = self.seq_len + 1
        trained = np.full(len(ids), self.train_on is TrainOn.everything)
        trained[0] = False  # no token precedes it
        for start, end in answers:
            trained[start:end] = True
            counts["answers beyond data.seq_len"] += start >= room
            counts["answers truncated"] += start < room < end
        is_complete = bool(answers) and answers[-1][1] <= room
        return TrainingSpan(ids[:room], trained[:room], answers[-1] if is_complete else None)

    def _with_source(
        self, ids: np.ndarray, answer_range: tuple[int, int], counts: Counter[str]
    ) -> TrainingSpan:
        """The first token and the end of the context, then the start of the answer."""
        start, end = answer_range
        source = np.append(ids[:1], ids[1:start][-(self.seq_len - 1) :])
        answer = ids[start:end][: self.seq_len]
        counts["answers truncated"] += len(answer) < end - start
        counts["prompts truncated"] += len(source) < start
        trained = np.arange(len(source) + len(answer)) >= len(source)
        in_row = (len(source), len(trained))
        is_complete = len(answer) == end - start
        return TrainingSpan(np.append(source, answer), trained, in_row if is_complete else None)

    def _check(self, ids: np.ndarray, turns: np.ndarray) -> None:
        vocab = self.tokenizer.vocab
        if ((ids[:-1] == vocab.bos) & (ids[1:] == vocab.bos)).any():
            raise DataError(
                "The chat template writes bos twice in a row, which no model was trained on.\n"
                "  Choose another template=..., or fix the template of the tokenizer."
            )
        ends = np.flatnonzero((turns > 0) & (np.append(turns[1:], 0) != turns))
        if not np.isin(ids[ends], vocab.stops).all():
            stops = " or ".join(self.tokenizer.pieces(vocab.stops))
            raise DataError(
                "The chat template ends an answer with "
                f"{self.tokenizer.pieces(ids[ends])[0]!r}, but generation stops at {stops}, so "
                "the trained model would never stop.\n"
                "  Choose a template that ends answers with a stop token, such as template=plain."
            )


@dataclass(frozen=True)
class Rows:
    """Input rows; each has the spans of one conversation or of several."""

    rows: Sequence[list[TrainingSpan]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[TrainingSpan]:
        return self.rows[index]


def encode_conversations(
    chats: Samples | Sequence[Chat], encoder: ConversationEncoder, pack: bool
) -> tuple[Rows, Counter[str]]:
    """All conversations with tokens to train on, and counts of what was lost.

    Raises DataError if none is left.
    """
    counts: Counter[str] = Counter()
    rows: list[list[TrainingSpan]] = []
    for i in range(len(chats)):
        try:
            spans = encoder.spans(chats[i], counts)
        except TemplateError as error:
            counts[f"conversations rejected by the template ({error})"] += 1
            continue
        counts["conversations without a token to train on"] += not spans
        rows += [spans] if spans else []
    counts = +counts
    if not rows:
        lost = "".join(f"\n  {n:,} {what}" for what, n in counts.items())
        raise DataError(
            f"None of the {len(chats):,} conversations has a token to train on.{lost}\n"
            f"  data.seq_len={encoder.seq_len} may be too short for the prompts."
        )
    if pack:
        spans = [span for row in rows for span in row]
        packed = pack_rows([len(span.ids) for span in spans], encoder.seq_len + 1)
        rows = [[spans[i] for i in row] for row in packed]
    return Rows(rows), counts


def pack_rows(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of lengths, packed in rows of at most `room`: best fit, longest first."""
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens free, row), sorted
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        best = bisect_left(free, (lengths[i], -1))
        if best == len(free):
            rows.append([])
            insort(free, (room, len(rows) - 1))
            best = len(free) - 1
        n_free, row = free.pop(best)
        rows[row].append(i)
        insort(free, (n_free - lengths[i], row))
    return sorted(rows, key=min)
