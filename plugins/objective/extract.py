"""Question answering by extraction: the start and the end of the answer in a text.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, sections 4.2 (SQuAD 1.1) and 4.3 (2.0,
with questions that the text does not answer); windows and knobs as in transformers' `run_qa`.
The loss is a mean over windows, as theirs, so a long text weighs more than a short one; metrics
count each question once. A window that does not contain the whole answer has none.
Deviations: padding has no part in the softmax; the head starts at 0, so the loss starts at the log
of the number of tokens; no answer is scored by the first position as theirs, but by the last one in
a decoder, whose first position has seen nothing; RoBERTa has one separator between the texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, DataError, Question, plugin, require
from etude.config import ObjectiveConfig
from etude.data import Samples
from etude.network import Network, freeze_head
from etude.objective import HeadObjective, Loss, ObjectiveContext, Prediction, Query

from ._extract.answers import NO_ANSWER, Answer, best_answer, scored_windows
from ._extract.span_head import SpanHead, span_loss
from ._extract.squad import exact_match, f1
from ._extract.windows import Asked, Window, WindowBatch, WindowEncoder, answer_tokens


@dataclass
class ExtractConfig(ObjectiveConfig):
    overlap_tokens: int | None = None
    """Tokens that a window of a long context shares with the next one (transformers' doc_stride);
    null = a third of data.seq_len. Typical: 32-128."""
    max_answer_tokens: int = 30
    """Longest answer, in tokens; longer parts of a context are not considered. Typical: 15-50."""
    no_answer_threshold: float | None = 0.0
    """No answer is given if its score exceeds that of the best answer by this much, in nats;
    null = always an answer, and questions without one are left out. Typical: -5 to 5."""

    def __post_init__(self) -> None:
        n = self.overlap_tokens
        require(n is None or n >= 0, f"overlap_tokens must be 0 or more, got {n}")
        require(
            self.max_answer_tokens >= 1,
            f"max_answer_tokens must be at least 1, got {self.max_answer_tokens}",
        )


def question_of(query: Query) -> Question:
    """A question and its context as a record. Raises DataError for a query without a context."""
    if isinstance(query.text, str) and query.second is not None:
        return Question(query.text, query.second)
    raise DataError(
        f"{query.text!r:.60}: the run answers questions from a text, and there is none.\n"
        "  Give both: prompt=<question> second=<text>, or rows of text (the question) and second."
    )


@plugin(
    ExtractConfig,
    reads={Question},
    needs={Capability.HIDDEN},
    lr=1e-4,
    data="docs_questions",
)
class Extract(HeadObjective[ExtractConfig, WindowBatch]):
    """Learns p(start) and p(end) over the tokens of a window; either is at no answer if none."""

    unit = "windows"
    exported_modules = ("qa_outputs",)

    def __init__(self, config: ExtractConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(tools.seq_len >= 16, f"data.seq_len must be at least 16, got {tools.seq_len}")
        third = tools.seq_len // 3
        overlap = third if config.overlap_tokens is None else config.overlap_tokens
        require(
            overlap <= third,
            f"objective.overlap_tokens={overlap} must be at most a third of data.seq_len="
            f"{tools.seq_len}: a question may take another third",
        )
        self.encoder = WindowEncoder(tools.tokenizer, tools.architecture, tools.seq_len, overlap)
        self.qa_outputs = SpanHead(network.dim)  # named as in transformers
        freeze_head(network)

    def select_samples(self, samples: Samples) -> Samples:
        return self.drop_samples(samples, self.drop_reason)

    def drop_reason(self, record: Question) -> str | None:
        """Why a record is left out; None if it is kept."""
        if not record.answers:
            always = self.config.no_answer_threshold is None
            return "no answer, and objective.no_answer_threshold=null" if always else None
        offsets = self.tools.tokenizer.offsets(record.context)
        return "no token of the answer" if answer_tokens(record, offsets) is None else None

    def cuts(self, sample: Question) -> Iterator[str]:
        if len(self.tools.tokenizer.encode(sample.question)) > len(self.encoder.question(sample)):
            yield "questions cut to a third of data.seq_len"
        windows = self.encoder.windows(sample)
        if sample.answers and all(one.answer is None for one in windows):
            yield "answers that fit into no window"
        if any(self._is_too_long(one) for one in windows):
            yield "answers longer than objective.max_answer_tokens, which are never given"

    def _is_too_long(self, window: Window) -> bool:
        first, last = window.answer or (0, 0)
        return last - first >= self.config.max_answer_tokens

    def example(self, record: Question, rng: np.random.Generator) -> list[Window]:
        return self.encoder.windows(record)

    def collate(self, examples: Sequence[Sequence[Window]]) -> WindowBatch:
        return self.encoder.batch(self.network, [one for windows in examples for one in windows])

    def held_out_batch(
        self, records: Sequence[Question], rngs: Sequence[np.random.Generator]
    ) -> WindowBatch:
        windows = [self.encoder.windows(record) for record in records]
        batch = self.collate(windows)
        batch.asked = Asked(list(zip(records, windows, strict=True)))
        return batch

    def count(self, batch: WindowBatch) -> float:
        return float(len(batch.start))

    def scores(self, batch: WindowBatch) -> Float[Tensor, "2 window seq"]:
        """The scores of each position as start and as end of the answer; padding has -inf."""
        scores = self.qa_outputs(self.network.states(batch.inputs))
        return scores.masked_fill(~batch.is_real, -torch.inf)

    def loss(self, batch: WindowBatch) -> Loss:
        return span_loss(self.scores(batch), batch.start, batch.end)

    def answers(
        self, scores: Float[Tensor, "2 window seq"], batch: WindowBatch
    ) -> list[tuple[Question, Answer]]:
        """Each question of a held-out batch with its answer."""
        assert batch.asked is not None, "held_out_batch sets it"
        windows = scored_windows(scores, batch)
        limits = self.config.max_answer_tokens, self.config.no_answer_threshold
        return [
            (record, best_answer(record, [*islice(windows, len(own))], *limits))
            for record, own in batch.asked.pairs
        ]

    def evaluate(self, batch: WindowBatch) -> tuple[Loss, float]:
        scores = self.scores(batch)
        rows = [
            (
                float(bool(record.answers)),
                exact_match(answer.text, record.answers),
                f1(answer.text, record.answers),
            )
            for record, answer in self.answers(scores, batch)
        ]
        table = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return replace(span_loss(scores, batch.start, batch.end), rows=table), self.count(batch)

    def row_metrics(self, rows: Float[Tensor, "sample 3"]) -> dict[str, float]:
        has_answer = rows[:, 0] > 0
        exact, overlap = rows[:, 1], rows[:, 2]
        found = {"exact_match": exact, "f1": overlap, "answerable_f1": overlap[has_answer]}
        found["unanswerable_accuracy"] = exact[~has_answer]
        return {name: float(values.mean()) for name, values in found.items() if len(values)}

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        records = [question_of(query) for query in queries]
        batch = self.transfer_batch_to_device(self.held_out_batch(records, ()), self.device, 0)
        answers = [answer for _, answer in self.answers(self.scores(batch), batch)]
        return [Prediction(vars(answer), [answer.described]) for answer in answers]

    def show(self, records: Sequence[Question]) -> list[str]:
        answers = self.predict([Query(record.question, record.context) for record in records])
        return [
            f"{record.question}\n  {answer.lines[0]}; right: {record.answers or NO_ANSWER}"
            for record, answer in zip(records, answers, strict=True)
        ]
