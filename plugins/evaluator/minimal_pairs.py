"""Minimal pairs: the model should give the acceptable sentence the higher log-probability.

Warstadt et al. 2020 (BLiMP), https://arxiv.org/abs/1912.00582, section 3: whole sentences, without
normalisation. A tie is wrong, so a model for which all sentences are alike scores 0. Its rows are
read with data.columns.source=sentence_good and data.columns.target=sentence_bad.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Capability, Pair, plugin
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
)


@dataclass
class MinimalPairsConfig(EvaluatorConfig):
    """No knobs of its own."""


@plugin(
    MinimalPairsConfig,
    reads={Pair},
    needs={Capability.NEXT_TOKEN},
    example={
        "data": "jsonl_pairs",
        "data.path": '{file}{"source": "It is # now.", "target": "It are # now."}',
    },
)
class MinimalPairs(Evaluator[MinimalPairsConfig, Pair]):
    """The share of pairs whose source, the acceptable sentence, is more likely."""

    @property
    def metrics(self) -> Sequence[Metric]:
        return [*OUTCOMES, Metric("ties", "tie", higher_is_better=False)]

    def questions(self, cases: Sequence[Case[Pair]]) -> Iterator[Sequence[int]]:
        for case in cases:
            yield [i for one in self._sides(case) for i in (*one.prompt, *one.completion)]

    def evaluate(self, cases: Sequence[Case[Pair]]) -> Sequence[Item]:
        sides = [side for case in cases for side in self._sides(case)]
        found = self.context.subject.log_probs(sides)
        totals = [rounded(math.fsum(row)) for row in found]
        return [self._item(case, totals[2 * i : 2 * i + 2]) for i, case in enumerate(cases)]

    def _sides(self, case: Case[Pair]) -> Sequence[Continuation]:
        """The acceptable sentence and the other one, each from the start of a document."""
        tokenizer = self.context.subject.model.tokenizer
        start = tokenizer.vocab.prompt([])
        encoded = tokenizer.encode_batch([case.record.source, case.record.target])
        return [Continuation(start, ids.tolist()) for ids in encoded]

    def _item(self, case: Case[Pair], scores: Sequence[float]) -> Item:
        outcome = best_outcome(scores, 0)
        values = {**outcome_values(outcome), "tie": float(scores[0] == scores[1])}
        shown = {
            "acceptable": case.record.source,
            "unacceptable": case.record.target,
            "log_probs": list(scores),
        }
        return Item(case.id, values, outcome, shown)
