"""Encodes conversations: which tokens are trained on, what is dropped, and why."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from jaxtyping import Bool, Int

from etude import Chat, DataError
from etude.data import (
    Conversation,
    RewrittenTurnError,
    Samples,
    TemplateError,
    Tokenizer,
    assistant_turns,
    conversation,
)

from .packing import pack_rows


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
    origin: tuple[Samples | Sequence[Chat], int] | None = None
    """The conversations and the index of its own, for `labels_of`."""

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
        """The spans of a conversation with tokens to train on; counts what is lost.

        If the template writes an answer differently when more messages follow, as those that drop
        earlier reasoning do, each answer becomes a span of its own, with its context.
        Raises TemplateError if the template rejects the conversation, DataError if its output would
        teach something wrong: two bos in a row, or an answer without an end token.
        """
        counts = Counter() if counts is None else counts
        turns = assistant_turns(chat.messages)
        n_marked = sum(not chat.messages[i].learn for i in turns)
        counts["answers marked as not to be learned"] += n_marked
        last_only = self.train_on is TrainOn.last
        required = {TrainOn.all: None, TrainOn.last: turns[-1:], TrainOn.everything: turns}
        try:
            encoded = [self._encode(chat, required[self.train_on])]
        except RewrittenTurnError as error:
            if self.train_on is TrainOn.everything:
                raise TemplateError(f"{error} objective.train_on=all and last need not.") from error
            ends = turns[-1:] if last_only else [i for i in turns if chat.messages[i].learn]
            parts = [replace(chat, messages=chat.messages[: i + 1]) for i in ends]
            encoded = [self._encode(part, [len(part.messages) - 1]) for part in parts]
            last_only = True
        counts.update(encoded[-1].reasons)
        return [span for one in encoded for span in self._spans(one, last_only, counts)]

    def _encode(self, chat: Chat, required: Collection[int] | None) -> Conversation:
        return conversation(self.tokenizer, chat.messages, chat.tools, required=required)

    def _spans(
        self, encoded: Conversation, last_only: bool, counts: Counter[str]
    ) -> list[TrainingSpan]:
        n = encoded.n_turns
        places = [np.flatnonzero(encoded.turns == i) for i in range(n if last_only else 1, n + 1)]
        answers = [(int(place[0]), int(place[-1]) + 1) for place in places if len(place)]
        self._check(encoded.ids, [end - 1 for _, end in answers])
        if self.sources:
            spans = [self._with_source(encoded.ids, answer, counts) for answer in answers]
        else:
            spans = [self._whole(encoded, answers, counts)]
        return [span for span in spans if span.trained.any()]

    def _whole(
        self, encoded: Conversation, answers: Sequence[tuple[int, int]], counts: Counter[str]
    ) -> TrainingSpan:
        """The start of the conversation: one token more than a row has inputs."""
        room = self.seq_len + 1
        trained = (encoded.turns >= 0) & (self.train_on is TrainOn.everything)
        trained[0] = False  # no token precedes it
        for start, end in answers:
            trained[start:end] |= encoded.turns[start:end] > 0
            counts["answers beyond data.seq_len"] += start >= room
            counts["answers truncated"] += start < room < end
        last = answers[-1] if answers and answers[-1][1] <= room else None
        return TrainingSpan(encoded.ids[:room], trained[:room], last)

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
        in_row = (len(source), len(trained)) if len(answer) == end - start else None
        return TrainingSpan(np.append(source, answer), trained, in_row)

    def _check(self, ids: np.ndarray, ends: Sequence[int]) -> None:
        vocab = self.tokenizer.vocab
        if ((ids[:-1] == vocab.bos) & (ids[1:] == vocab.bos)).any():
            raise DataError(
                "The chat template writes bos twice in a row, which no model was trained on.\n"
                "  Choose another template=..., or fix the template of the tokenizer."
            )
        endless = [end for end in ends if ids[end] not in vocab.stops]
        if endless:
            stops = " or ".join(self.tokenizer.pieces(vocab.stops))
            raise DataError(
                "The chat template ends an answer with "
                f"{self.tokenizer.pieces(ids[endless[:1]])[0]!r}, but generation stops at {stops}, "
                "so the trained model would never stop.\n"
                "  Choose a template that ends answers with a stop token, such as template=plain."
            )


@dataclass(frozen=True)
class Rows:
    """Input rows; each has the spans of one conversation or of several."""

    rows: Sequence[list[TrainingSpan]]
    n_split: int = 0
    """Conversations of which each answer is a row, because the template rewrites earlier ones."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about the rows."""
        why = "into a row for each answer: the template writes earlier answers differently"
        return [f"split     {self.n_split:,} conversations {why}"] if self.n_split else []

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
    n_split = 0
    for i in range(len(chats)):
        try:
            spans = encoder.spans(chats[i], counts)
        except TemplateError as error:
            counts[f"conversations rejected by the template ({error})"] += 1
            continue
        spans = [replace(span, origin=(chats, i)) for span in spans]
        counts["conversations without a token to train on"] += not spans
        n_split += len(spans) > 1 and not encoder.sources
        rows += [spans] if encoder.sources and spans else [[span] for span in spans]
    counts = +counts
    if not rows:
        lost = "".join(f"\n  {n:,} {what}" for what, n in counts.items())
        if any("data.seq_len" in what for what in counts):
            lost += f"\n  data.seq_len={encoder.seq_len} may be too short for the prompts."
        raise DataError(f"None of the {len(chats):,} conversations has a token to train on.{lost}")
    if pack:
        spans = [span for row in rows for span in row]
        packed = pack_rows([len(span.ids) for span in spans], encoder.seq_len + 1)
        rows = [[spans[i] for i in row] for row in packed]
    return Rows(rows, n_split), counts
