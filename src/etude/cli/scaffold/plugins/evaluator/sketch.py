"""Log-probability of the start of each text.

(Replace this with your source and your deviations from it.)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude import Capability, Text, plugin, require
from etude.config import EvaluatorConfig
from etude.evaluation import Case, Continuation, Evaluator, Item, Metric, rounded


@dataclass
class SketchConfig(EvaluatorConfig):
    n_tokens: int = 32
    """Length of the start of a text, in tokens."""

    def __post_init__(self) -> None:
        require(self.n_tokens >= 2, f"n_tokens must be at least 2, got {self.n_tokens}")


@plugin(SketchConfig, reads={Text}, needs={Capability.NEXT_TOKEN})
class Sketch(Evaluator[SketchConfig, Text]):
    """Nats per token, over all texts."""

    @property
    def metrics(self) -> Sequence[Metric]:
        return [
            Metric(
                "nats_per_token",
                "nats",
                "tokens",
                higher_is_better=False,
                needs_same_tokenizer=True,
            )
        ]

    def questions(self, cases: Sequence[Case[Text]]) -> Iterator[Sequence[int]]:
        subject = self.context.subject
        for case in cases:
            ids = subject.model.tokenizer.encode(case.record.text).tolist()
            yield [*subject.network.vocab.prompt([]), *ids[: self.config.n_tokens]]

    def evaluate(self, cases: Sequence[Case[Text]]) -> Sequence[Item]:
        texts = [Continuation(ids[:1], ids[1:]) for ids in self.questions(cases)]
        found = self.context.subject.log_probs(texts)
        return [
            Item(case.id, {"nats": rounded(-math.fsum(row)), "tokens": float(len(row))})
            for case, row in zip(cases, found, strict=True)
        ]
