"""Multiple choice: the model chooses the answer with the highest log-probability.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, section 2.4, with the normalisations of
lm-evaluation-harness; its acc_norm divides by characters, which equals bytes in ASCII alone. A tie
of the best choices is wrong: it would otherwise depend on their order. Calibration: the confidence
is the share of the choice in the probability of all choices (a softmax of their
log-probabilities); Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from etude import Choice, plugin
from etude.config import EvaluatorConfig
from etude.evaluation import (
    OUTCOMES,
    Case,
    Continuation,
    Evaluator,
    Item,
    Metric,
    best_outcome,
    outcome_values,
    rounded,
    shares,
)


class Normalisation(Enum):
    """What the log-probability of a choice is divided by, or compared with."""

    none = "the log-probability"
    tokens = "per token"
    bytes = "per byte of UTF-8"
    unconditional = "minus the log-probability without the question"


@dataclass
class ChoiceConfig(EvaluatorConfig):
    normalisation: Normalisation = Normalisation.bytes
    """The score of a choice: none = its log-probability, tokens or bytes = per token or byte, so
    that short choices have no advantage, unconditional = minus that without the question, so that
    frequent ones have none."""
    delimiter: str = " "
    """Text between a question and a choice, where the model has no chat template; an empty string
    suits Chinese."""


@plugin(
    ChoiceConfig,
    reads={Choice},
    example={
        "data": "jsonl_choices",
        "data.path": '{file}{"prompt": "#?", "choices": ["#", "no #", "x"], "answer": 0}',
    },
)
class MultipleChoice(Evaluator[ChoiceConfig, Choice]):
    """Accuracy, the probability of the right choice, and the Brier score (0 to 2)."""

    @property
    def metrics(self) -> Sequence[Metric]:
        return [
            *OUTCOMES,
            Metric("probability", "probability"),
            Metric("brier", "brier", higher_is_better=False),
        ]

    def questions(self, cases: Sequence[Case[Choice]]) -> Iterator[Sequence[int]]:
        for case in cases:
            yield [i for one in self._texts(case) for i in (*one.prompt, *one.completion)]

    def evaluate(self, cases: Sequence[Case[Choice]]) -> Sequence[Item]:
        texts = [self._texts(case) for case in cases]
        found = iter(self.context.subject.log_probs([one for some in texts for one in some]))
        return [
            self._item(case, [next(found) for _ in some])
            for case, some in zip(cases, texts, strict=True)
        ]

    def _texts(self, case: Case[Choice]) -> Sequence[Continuation]:
        """Returns each choice after the question, then without it if these are compared."""
        answer, record = self.context.subject.answer, case.record
        is_compared = self.config.normalisation is Normalisation.unconditional
        prompts = [record.prompt, *([""] if is_compared else [])]
        return [
            answer(prompt, text, self.config.delimiter)
            for prompt in prompts
            for text in record.choices
        ]

    def _item(self, case: Case[Choice], rows: Sequence[Sequence[float]]) -> Item:
        record, n = case.record, len(case.record.choices)
        totals = [math.fsum(row) for row in rows]
        scores = [rounded(self._score(totals, rows, record, i)) for i in range(n)]
        outcome = best_outcome(scores, record.right)
        chances = shares(totals[:n])
        values = {
            **outcome_values(outcome),
            "probability": rounded(chances[record.right]),
            "brier": rounded(sum((p - (i == record.right)) ** 2 for i, p in enumerate(chances))),
        }
        shown = {
            "prompt": str(record.prompt),
            "choices": list(record.choices),
            "log_probs": [rounded(total) for total in totals[:n]],
            "scores": scores,
            "right": record.right,
        }
        return Item(case.id, values, outcome, shown)

    def _score(
        self,
        totals: Sequence[float],
        rows: Sequence[Sequence[float]],
        record: Choice,
        i: int,
    ) -> float:
        match self.config.normalisation:
            case Normalisation.none:
                return totals[i]
            case Normalisation.tokens:
                return totals[i] / len(rows[i])
            case Normalisation.bytes:
                return totals[i] / len(record.choices[i].encode())
            case Normalisation.unconditional:
                return totals[i] - totals[len(record.choices) + i]
