"""Windows of a context, each with the question: what the network reads of one sample.

The windows are those of a fast tokenizer of transformers with `return_overflowing_tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from etude import Capability, Question
from etude.config import ArchitectureConfig, capabilities_of
from etude.data import Tokenizer
from etude.network import Inputs, Network, pad_right
from etude.objective import Ids

Offsets = Int[np.ndarray, "token 2"]


@dataclass(frozen=True)
class Window:
    """The question with its special tokens, and a part of the context."""

    prompt: Ids
    context: Ids
    offsets: Offsets
    """Start and end of each token of this part, in characters of the whole context."""
    answer: tuple[int, int] | None
    """The first and last token of the answer, from 0 at this part; None if it is not all here."""


class Asked:
    """Questions with their windows; its repr is only their number."""

    def __init__(self, pairs: Sequence[tuple[Question, Sequence[Window]]]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"{len(self.pairs)} questions"


@dataclass
class WindowBatch:
    """Windows, one per row; all but `context` mark one token of each."""

    inputs: Inputs
    context: Bool[Tensor, "window seq"]
    no_answer: Bool[Tensor, "window seq"]
    """Where a window without the answer has its start and its end."""
    start: Bool[Tensor, "window seq"]
    end: Bool[Tensor, "window seq"]
    asked: Asked | None = None

    @property
    def is_real(self) -> Bool[Tensor, "window seq"]:
        """Marks the tokens that are no padding."""
        documents = self.inputs.documents
        return torch.ones_like(self.context) if documents is None else documents > 0


class WindowEncoder:
    """Cuts the context of a question into windows of `seq_len` tokens, question included."""

    def __init__(
        self, tokenizer: Tokenizer, architecture: ArchitectureConfig, seq_len: int, overlap: int
    ) -> None:
        self.tokenizer = tokenizer
        self.seq_len = seq_len
        self.overlap = overlap
        provides = capabilities_of(architecture)
        self.reads_source = Capability.SOURCE_TARGET in provides
        self.separates = Capability.BOTH_SIDES in provides
        """Whether the network itself writes a token between the two texts of a pair."""
        vocab = tokenizer.vocab
        self.ending = list(vocab.closing or (vocab.eos,))

    def question(self, record: Question) -> Ids:
        """The ids of the question; a third of a window at most, as in transformers' 128 of 384."""
        return self.tokenizer.encode(record.question).tolist()[: self.seq_len // 3]

    def prompt(self, question: Ids) -> Ids:
        """The question, with the special tokens before it and after it."""
        vocab = self.tokenizer.vocab
        if self.separates:
            return [*vocab.opening, *question]
        return vocab.source(question) if self.reads_source else vocab.document(question)

    def windows(self, record: Question) -> list[Window]:
        """The windows of a record, in order; each shares `overlap` tokens with the next one.

        The target is the first answer. Others are as good, and are references of the metrics.
        """
        prompt = self.prompt(self.question(record))
        ids = self.tokenizer.encode(record.context).tolist()
        offsets = self.tokenizer.offsets(record.context)
        answer = answer_tokens(record, offsets)
        room = self.seq_len - len(prompt) - self.separates - len(self.ending)
        return [
            Window(
                prompt, ids[at : at + room], offsets[at : at + room], _inside(answer, at, at + room)
            )
            for at in range(0, max(1, len(ids) - self.overlap), room - self.overlap)
        ]

    def batch(self, network: Network, windows: Sequence[Window]) -> WindowBatch:
        """The batch of some windows, each of them a row.

        No answer is at the state that has seen all of a window: the first one or, in a decoder, the
        last one. An encoder-decoder reads a window on both sides: Lewis et al. 2019 (BART),
        https://arxiv.org/abs/1910.13461, section 3.2.
        """
        pairs = [(one.prompt, [*one.context, *self.ending]) for one in windows]
        rows = [[*prompt, *completion] for prompt, completion in pairs]
        if self.separates:
            inputs, _ = network.read(pairs)
        elif self.reads_source:
            inputs = network.answer([(row, row) for row in rows]).inputs
        else:
            inputs = pad_right(rows, self.tokenizer.vocab.pad)
        marks = [torch.zeros_like(inputs.tokens, dtype=torch.bool) for _ in range(4)]
        for row, (one, ids) in enumerate(zip(windows, rows, strict=True)):
            first = len(one.prompt) + self.separates
            none = 0 if self.separates or self.reads_source else len(ids) - 1
            start, end = (none, none) if one.answer is None else (first + i for i in one.answer)
            places = (slice(first, first + len(one.context)), none, start, end)
            for mark, place in zip(marks, places, strict=True):
                mark[row, place] = True
        context, no_answer, start, end = marks
        return WindowBatch(inputs, context, no_answer, start, end)


def answer_tokens(record: Question, offsets: Offsets) -> tuple[int, int] | None:
    """The first and last token of the first answer; None if there is none, or it has no token."""
    if not record.answers:
        return None
    start = record.starts[0]
    first = int((offsets[:, 1] <= start).sum())
    last = int((offsets[:, 0] < start + len(record.answers[0])).sum()) - 1
    return (first, last) if first <= last else None


def _inside(answer: tuple[int, int] | None, start: int, end: int) -> tuple[int, int] | None:
    """An answer from the first token of a window; None if the window does not contain all of it."""
    if answer is None or answer[0] < start or answer[1] >= end:
        return None
    return answer[0] - start, answer[1] - start
