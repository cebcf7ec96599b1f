"""Answers written by the model: each completion is read by a scorer and compared.

A completion that contains no answer is counted as unanswered, a third outcome: extraction rules
would otherwise decide the accuracy (lm-evaluation-harness issues 2905 and 1159).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Capability, Prompt, plugin
from etude.config import EvaluatorConfig
from etude.evaluation import OUTCOMES, Case, Evaluator, Item, Metric, Output, outcome_values
from etude.network import Request


@dataclass
class GenerationConfig(EvaluatorConfig):
    """No knobs of its own: prompting, decoding, scorer and max_new_tokens say how it is done."""


@plugin(
    GenerationConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    example={"data": "arithmetic", "objective": "sft"},
)
class Generation(Evaluator[GenerationConfig, Prompt]):
    """Shares of right, wrong and missing answers, and the metrics of the scorer."""

    @property
    def metrics(self) -> Sequence[Metric]:
        return [*OUTCOMES, *self.context.scorer.metrics]

    def questions(self, cases: Sequence[Case[Prompt]]) -> Iterator[Sequence[int]]:
        for case in cases:
            yield self.context.subject.question(self.context.prompting.prompt(case))

    def evaluate(self, cases: Sequence[Case[Prompt]]) -> Sequence[Item]:
        context = self.context
        n, stop = context.prompting.n_samples, context.prompting.stop
        questions = list(self.questions(cases))
        requests = [
            Request(ids, case.rng(context.seed, i), context.max_new_tokens)
            for case, ids in zip(cases, questions, strict=True)
            for i in range(n)
        ]
        written = context.subject.complete(requests, context.decoding, stop)
        decode = context.subject.model.tokenizer.decode
        return [
            self._item(case, decode(ids, skip_special=False), written[n * i : n * (i + 1)])
            for i, (case, ids) in enumerate(zip(cases, questions, strict=True))
        ]

    def _item(self, case: Case[Prompt], prompt: str, written: Sequence[Output]) -> Item:
        scorer, prompting = self.context.scorer, self.context.prompting
        reference = case.record.answer or ""
        answers = [scorer.extract(one.text) for one in written]
        answer = prompting.choose(answers, [one.log_prob for one in written])
        outcome = scorer.outcome(answer, reference)
        shown = {
            "prompt": prompt,
            "completions": [one.text for one in written],
            "answers": answers,
            "answer": answer,
            "reference": reference,
        }
        values = {**outcome_values(outcome), **scorer.values(answer or "", reference)}
        return Item(case.id, values, outcome, shown)
