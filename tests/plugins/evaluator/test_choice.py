"""A choice is right if it alone has the highest score, however the scores are normalised."""

import math
from typing import Any

import evaluations
import pytest
import tiny
import torch

from etude.evaluation.item import Outcome
from etude.network.inputs import Inputs
from etude.plugins.evaluator.choice import Normalisation
from etude.records import Choice

QUESTIONS = [
    Choice("The sky is", ("blue", "a very long shade of green"), 0),
    Choice("天空是", ("蓝色", "x", "绿色的天空"), 2),
    Choice("2+2=", ("4", "5", "6", "7"), 3),
]


@torch.no_grad()
def log_prob(network: Any, prompt: Any, text: str) -> float:
    """log p of a text after a prompt, from the logits of one row."""
    before = [tiny.BYTES.vocab.bos, *tiny.BYTES.encode(prompt).tolist()]
    ids = [*before, *tiny.BYTES.encode(text).tolist()]
    rows = network(Inputs(torch.tensor([ids])))[0].log_softmax(-1)
    return sum(float(rows[i - 1, ids[i]]) for i in range(len(before), len(ids)))


@pytest.mark.parametrize("normalisation", Normalisation)
def test_scores_are_those_of_the_definition(normalisation: Normalisation) -> None:
    given = evaluations.context()
    made = evaluations.evaluator("choice", given, normalisation=normalisation)
    network = given.subject.network
    for question, item in zip(QUESTIONS, evaluations.items(made, QUESTIONS), strict=True):
        after = [log_prob(network, question.prompt, f" {text}") for text in question.choices]
        expected = {
            Normalisation.none: after,
            Normalisation.tokens: [
                x / (1 + len(text.encode()))
                for x, text in zip(after, question.choices, strict=True)
            ],  # a byte is a token, and the delimiter is one
            Normalisation.bytes: [
                x / len(text.encode()) for x, text in zip(after, question.choices, strict=True)
            ],
            Normalisation.unconditional: [
                x - log_prob(network, "", f" {text}")
                for x, text in zip(after, question.choices, strict=True)
            ],
        }[normalisation]
        assert item.shown["scores"] == pytest.approx(expected, abs=2e-5)
        is_right = max(range(len(expected)), key=expected.__getitem__) == question.right
        assert item.outcome is (Outcome.RIGHT if is_right else Outcome.WRONG)
        total = sum(map(math.exp, after))
        chances = [math.exp(x) / total for x in after]
        brier = sum((p - (i == question.right)) ** 2 for i, p in enumerate(chances))
        assert item.values["brier"] == pytest.approx(brier, abs=1e-5)
        assert item.values["probability"] == pytest.approx(chances[question.right], abs=1e-5)


def test_the_delimiter_is_part_of_a_choice() -> None:
    with_space, without = (
        evaluations.items(evaluations.evaluator("choice", delimiter=one), QUESTIONS)
        for one in (" ", "")
    )
    assert all(
        a.shown["scores"] != b.shown["scores"] for a, b in zip(with_space, without, strict=True)
    )


def test_a_tie_is_wrong_whatever_the_order_of_the_choices() -> None:
    given = evaluations.context()
    for parameter in given.subject.network.parameters():
        parameter.data.zero_()  # every token has the same probability
    made = evaluations.evaluator("choice", given)
    ties = [Choice("2+2=", ("4", "5"), right) for right in (0, 1)]
    items = evaluations.items(made, ties)
    assert [item.outcome for item in items] == [Outcome.WRONG] * 2
    assert [item.values["brier"] for item in items] == [0.5] * 2


def test_an_encoder_decoder_reads_the_question_as_its_source() -> None:
    subject = evaluations.subject(tiny.stack("encoder_decoder", position="rope"))
    made = evaluations.evaluator("choice", evaluations.context(subject))
    (item,) = evaluations.items(made, QUESTIONS[:1])
    vocab = tiny.BYTES.vocab
    source = Inputs(torch.tensor([vocab.source(tiny.BYTES.encode("The sky is"))]))
    target = tiny.BYTES.encode("blue").tolist()
    with torch.no_grad():
        logits = subject.network(Inputs(torch.tensor([[vocab.pad, *target[:-1]]]), source=source))
    expected = logits[0].log_softmax(-1)[torch.arange(4), target].sum()
    assert item.shown["log_probs"][0] == pytest.approx(float(expected), abs=1e-5)
