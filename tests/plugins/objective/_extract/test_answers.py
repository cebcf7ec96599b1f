"""The best answer: that of an exhaustive search over all windows."""

from itertools import product

import numpy as np
import pytest
import torch

from etude.plugins.objective._extract.answers import Answer, ScoredWindow, best_answer
from etude.plugins.objective._extract.windows import Window
from etude.records import Question

TEXT = "abcdefgh"
RECORD = Question("q", TEXT)


def scored(seed: int, n: int = 6, none: float = 0.0) -> list[ScoredWindow]:
    """Two windows of a text of `n` one-character tokens, with random scores."""
    draw = torch.Generator().manual_seed(seed)
    windows: list[ScoredWindow] = []
    for at in (0, 2):
        offsets = np.array([[i, i + 1] for i in range(at, at + n)])
        scores = torch.randn(2, n, generator=draw, dtype=torch.float64)
        windows.append(ScoredWindow(Window([], [], offsets, None), scores, torch.tensor(none - at)))
    return windows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 6, 30])
def test_it_is_the_best_of_all_parts_and_its_probability_its_share(seed: int, most: int) -> None:
    windows = scored(seed)
    parts = {
        (w, i, j): float(one.scores[0, i] + one.scores[1, j])
        for w, one in enumerate(windows)
        for i, j in product(range(6), repeat=2)
        if i <= j < i + most
    }
    w, i, j = max(parts, key=parts.__getitem__)
    total = sum(map(np.exp, [*parts.values(), -2.0]))
    answer = best_answer(RECORD, windows, most, None)
    assert (answer.text, answer.start) == (TEXT[2 * w + i : 2 * w + j + 1], 2 * w + i)
    assert answer.probability == pytest.approx(np.exp(parts[w, i, j]) / total)


def test_there_is_no_answer_if_it_scores_higher_by_more_than_the_threshold() -> None:
    windows = scored(0)
    best = max(float(one.scores[0, i] + one.scores[1, i]) for one in windows for i in range(6))
    none = float(min(one.no_answer for one in windows))  # the least of the windows
    for threshold, is_none in [(none - best - 0.01, True), (none - best + 0.01, False)]:
        assert (best_answer(RECORD, windows, 1, threshold).text == "") is is_none


def test_white_space_and_an_empty_window_are_no_answer() -> None:
    space = Window([], [], np.array([[1, 1]]), None)
    none = torch.tensor(-9.0)
    spaces = ScoredWindow(space, torch.zeros(2, 1), none)
    empty = ScoredWindow(Window([], [], np.zeros((0, 2), int), None), torch.zeros(2, 0), none)
    for windows in ([spaces], [empty], [spaces, empty]):
        assert best_answer(RECORD, windows, 3, None) == Answer("", 1.0)
    assert Answer("", 1.0).described == "[100.0%] no answer"
