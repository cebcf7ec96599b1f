import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from etude.contracts import Decoding
from etude.generation import Ancestral, Greedy, generate

EOS = tiny.VOCAB.eos


class Scripted(Decoding):
    """Says what it is told, row by row."""

    def __init__(self, *rows: list[int]) -> None:
        self.rows = rows
        self.step = 0

    def choose(self, logits: Tensor, draw: Tensor) -> Tensor:
        said = [row[min(self.step, len(row) - 1)] for row in self.rows]
        self.step += 1
        return torch.tensor(said)


def written(decoding: Decoding, n: int = 5, rows: int = 2) -> list[list[int]]:
    rngs = [np.random.default_rng(i) for i in range(rows)]
    return generate(
        tiny.network(), [[20, 21]] * rows, max_new_tokens=n, decoding=decoding, rngs=rngs
    )


def test_a_row_ends_with_eos_and_the_others_go_on() -> None:
    decoding = Scripted([30, EOS, 31], [30, 31, 32, 33, 34])
    assert written(decoding) == [[30, EOS], [30, 31, 32, 33, 34]]


def test_when_all_have_ended_it_stops() -> None:
    decoding = Scripted([30, EOS], [EOS])
    assert written(decoding, n=50) == [[30, EOS], [EOS]]
    assert decoding.step == 2


def test_ancestral_samples_follow_the_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, dtype=torch.float64)
    n = 2000
    draws = (torch.arange(n) + 0.5) / n
    chosen = Ancestral(0.7).choose(logits.expand(n, -1), draws)
    shares = torch.bincount(chosen, minlength=7) / n
    torch.testing.assert_close(shares.double(), (logits / 0.7).softmax(0), rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2**-53])
def test_no_token_without_probability_is_ever_drawn(draw: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    chosen = int(Ancestral().choose(logits, torch.tensor([draw], dtype=torch.float64)))
    assert chosen in (1, 3)


def test_a_sample_is_a_function_of_its_generator() -> None:
    assert written(Ancestral()) == written(Ancestral())
    first, second = written(Ancestral())
    assert first != second
    assert written(Greedy())[0] == written(Greedy())[1]
