"""The more likely sentence is chosen, and a tie is wrong."""

import evaluations
import tiny
import torch

from etude.evaluation.item import Outcome
from etude.network.inputs import Inputs
from etude.records import Pair

PAIRS = [Pair("It is.", "It are."), Pair("它是", "它們是的"), Pair("a", "bcd"), Pair("xyz", "b")]


@torch.no_grad()
def test_log_probabilities_are_those_of_the_whole_sentences() -> None:
    given = evaluations.context()
    made = evaluations.evaluator("minimal_pairs", given)
    for pair, item in zip(PAIRS, evaluations.items(made, PAIRS), strict=True):
        expected: list[float] = []
        for text in (pair.source, pair.target):
            ids = torch.tensor([[tiny.BYTES.vocab.bos, *tiny.BYTES.encode(text).tolist()]])
            rows = given.subject.network(Inputs(ids))[0].log_softmax(-1)
            expected.append(float(rows[:-1].gather(1, ids[0, 1:, None]).sum()))
        assert torch.allclose(
            torch.tensor(item.shown["log_probs"]), torch.tensor(expected), atol=1e-4
        )
        is_right = expected[0] > expected[1]
        assert item.outcome is (Outcome.RIGHT if is_right else Outcome.WRONG)


def test_a_tie_is_wrong_and_counted() -> None:
    given = evaluations.context()
    for parameter in given.subject.network.parameters():
        parameter.data.zero_()  # every token has the same probability
    made = evaluations.evaluator("minimal_pairs", given)
    metrics = evaluations.metrics(made, [Pair("ab", "ba"), Pair("cd", "dc")])
    assert metrics == {"accuracy": 0, "wrong": 1, "unanswered": 0, "ties": 1}
