"""Log-probabilities and completions are equal to the bit for any batch size and order."""

from typing import Any

import evaluations
import numpy as np
import pytest
import tiny
import torch

from etude.errors import DataError
from etude.evaluation.subject import GRID, GUARD, Continuation, Subject, _is_between, on_grid
from etude.network.generation import Request
from etude.network.inputs import Inputs

TEXTS = [
    Continuation([2, *[20] * (i % 5)], [20 + (7 * i + j) % 17 for j in range(1 + 3 * i % 11)])
    for i in range(23)
]
SUBJECTS = {
    "decoder": tiny.stack(position="rope"),
    "encoder_decoder": tiny.stack("encoder_decoder", position="rope"),
}


def subject(family: str, batch_size: int) -> Subject:
    return evaluations.subject(SUBJECTS[family], batch_size=batch_size)


@pytest.mark.parametrize("family", SUBJECTS)
def test_log_probabilities_do_not_depend_on_batch_size_or_order(family: str) -> None:
    alone = subject(family, 1).log_probs(TEXTS)
    for size in (3, 8, len(TEXTS)):
        assert subject(family, size).log_probs(TEXTS) == alone
        assert subject(family, size).log_probs(TEXTS[::-1]) == alone[::-1]


def test_they_are_those_of_the_network_rounded_to_the_grid() -> None:
    made = subject("decoder", 4)
    for text, found in zip(TEXTS, made.log_probs(TEXTS), strict=True):
        ids = [*text.prompt, *text.completion]
        logits = made.network(Inputs(torch.tensor([ids[:-1]])))[0].detach()
        expected = logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
        expected = expected[len(text.prompt) - 1 :]
        assert torch.allclose(torch.tensor(found, dtype=torch.float64), expected, atol=0.6e-6)
        assert found == on_grid(torch.tensor(found, dtype=torch.float64)).tolist()


def test_a_value_between_two_multiples_of_the_grid_is_recomputed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _is_between(torch.tensor([1.5 * GRID + GUARD / 2], dtype=torch.float64))
    assert not _is_between(torch.tensor([1.4 * GRID], dtype=torch.float64))
    made = subject("decoder", 2)
    sizes: list[int] = []

    def rows(texts: Any) -> Any:
        sizes.append(len(texts))
        return [torch.tensor([1.5 * GRID], dtype=torch.float64)] * len(texts)

    monkeypatch.setattr(made, "_rows", rows)
    made.log_probs([Continuation([2], [20])] * 2)
    assert sizes == [2, 1, 1]


def test_completions_do_not_depend_on_batch_size_or_order() -> None:
    def written(size: int, order: int) -> list[str]:
        requests = [Request(t.prompt, np.random.default_rng(i), 6) for i, t in enumerate(TEXTS)]
        made = subject("decoder", size).complete(
            requests[::order], tiny.decoding("sample", temperature=1.5)
        )
        return [one.text for one in made][::order]

    assert written(1, 1) == written(5, -1) == written(len(TEXTS), 1)


def test_texts_longer_than_the_positions_are_refused_and_the_longest_that_fits_is_not() -> None:
    position = tiny.part("architecture/position", "learned", max_positions=8)
    made = evaluations.subject(tiny.stack(position=position))
    made.log_probs([Continuation([2], [20] * 8)])
    with pytest.raises(DataError, match="1 of 2 texts are longer than the 8 positions"):
        made.log_probs([Continuation([2], [20] * 9), Continuation([2], [20])])
    greedy = tiny.decoding("greedy")
    made.complete([Request([2] * 5, np.random.default_rng(0), 4)], greedy)
    with pytest.raises(DataError, match="longer than the 8 positions"):
        made.complete([Request([2] * 5, np.random.default_rng(0), 5)], greedy)


def test_an_encoder_decoder_has_positions_for_each_of_prompt_and_completion() -> None:
    position = tiny.part("architecture/position", "learned", max_positions=8)
    made = evaluations.subject(tiny.stack("encoder_decoder", position=position))
    made.log_probs([Continuation([20] * 8, [20] * 8)])
    for text in (Continuation([20] * 9, [20]), Continuation([20], [20] * 9)):
        with pytest.raises(DataError, match="longer than the 8 positions"):
            made.log_probs([text])
