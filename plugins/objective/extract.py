"""Question answering by extraction: the start and the end of the answer in a text.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, sections 4.2 (SQuAD 1.1) and 4.3 (2.0,
with questions that the text does not answer); windows and knobs as in transformers' `run_qa`.
The loss is a mean over windows, as theirs, so a long text weighs more than a short one; metrics
count each question once. A window that does not contain the whole answer has none.
Deviations: padding has no part in the softmax; the head starts at 0, so the loss starts at the log
of the number of tokens; no answer is scored by the first position as theirs, but by the last one in
a decoder, whose first position has seen nothing; RoBERTa has one separator between the texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Question, plugin, require
from etude.config import ObjectiveConfig
from etude.data import Samples
from etude.network import Network, freeze_head
from etude.objective import Loss, Objective, ObjectiveContext

from ._extract.answers import NO_ANSWER, Answer, best_answer, scored_windows
from ._extract.span_head import SpanHead, span_loss
from ._extract.squad import exact_match, f1
from ._extract.windows import Asked, Window, WindowBatch, WindowEncoder, answer_tokens

COUNTS = {
    "exact_match": "_questions",
    "f1": "_questions",
    "answerable_f1": "_answerable",
    "unanswerable_accuracy": "_unanswerable",
}
"""What each metric of answers is a mean over."""


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


@plugin(
    ExtractConfig,
    reads={Question},
    needs={Capability.HIDDEN},
    lr=1e-4,
    data="jsonl_questions",
)
class Extract(Objective[ExtractConfig, WindowBatch]):
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
        loss = span_loss(scores, batch.start, batch.end)
        rows = [
            (
                float(bool(record.answers)),
                exact_match(answer.text, record.answers),
                f1(answer.text, record.answers),
            )
            for record, answer in self.answers(scores, batch)
        ]
        has, exact, overlap = torch.tensor(rows, dtype=torch.float64, device=self.device).T
        sums = {"exact_match": exact, "f1": overlap, "_questions": torch.ones_like(has)}
        sums |= {"answerable_f1": overlap * has, "unanswerable_accuracy": exact * (1 - has)}
        sums |= {"_answerable": has, "_unanswerable": 1 - has}
        metrics = {**loss.metrics, **{name: value.sum() for name, value in sums.items()}}
        return Loss(loss.total, metrics), self.count(batch)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        known = {name: v for name, v in means.items() if name not in COUNTS and name[0] != "_"}
        return known | {name: means[name] / means[n] for name, n in COUNTS.items() if means.get(n)}

    def show(self, records: Sequence[Question]) -> list[str]:
        batch = self.transfer_batch_to_device(self.held_out_batch(records, ()), self.device, 0)
        return [
            f"{record.question}\n  {answer.described}; right: {record.answers or NO_ANSWER}"
            for record, answer in self.answers(self.scores(batch), batch)
        ]
