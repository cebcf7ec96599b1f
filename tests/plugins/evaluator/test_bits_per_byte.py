"""Bits per byte are nats per token in other units, whatever the tokens."""

import math

import evaluations
import pytest

from etude.records import Text


def test_they_are_the_nats_of_all_documents_over_their_bytes() -> None:
    texts = [Text("a"), Text("今天天气很好"), Text("ab" * 40)]
    (found,) = evaluations.metrics(evaluations.evaluator("bits_per_byte"), texts).values()
    loss = evaluations.metrics(evaluations.evaluator("perplexity"), texts)["nats_per_token"]
    n_bytes = sum(len(text.text.encode()) for text in texts)
    assert n_bytes == 1 + 18 + 80  # a byte is a token here
    assert found == pytest.approx(loss / math.log(2))
