from typing import Any

import pytest
import tiny
import torch
from transformers import NoRepeatNGramLogitsProcessor

from etude.config.schema.decoding import DecodingConfig
from etude.network.decoding import NO_TOKEN, Ancestral, Decoding, Greedy, History, penalised


@pytest.mark.parametrize("n", [1, 2, 3, 4, 13])
def test_n_gram_blocking_agrees_with_transformers_token_for_token(n: int) -> None:
    draw = torch.Generator().manual_seed(n)
    logits = torch.randn(200, 5, generator=draw)
    ids: Any = torch.randint(1, 5, (200, 12), generator=draw)  # few ids, so that n-grams repeat
    found = penalised(logits, tiny.history(*ids.tolist()), DecodingConfig(no_repeat_ngram=n))
    wanted = NoRepeatNGramLogitsProcessor(n)(ids, logits.clone())
    assert torch.equal(found, wanted)
    assert n > 4 or bool(wanted.isinf().any())


def test_no_completion_contains_an_n_gram_twice() -> None:
    made = Greedy(DecodingConfig(no_repeat_ngram=2))
    prompt = [20, 21, 20]
    (ids,) = tiny.continuations(tiny.network(), [prompt], 30, made)
    pairs = list(zip(prompt + ids, (prompt + ids)[1:], strict=False))
    (plain,) = tiny.continuations(tiny.network(), [prompt], 30)
    assert len({*pairs}) == len(pairs)
    assert ids != plain


def test_padding_is_part_of_no_n_gram() -> None:
    logits = torch.zeros(2, 4)
    config = DecodingConfig(no_repeat_ngram=2)
    history = History(torch.tensor([[NO_TOKEN, NO_TOKEN, 1], [1, 2, 1]]), [None] * 2)
    assert penalised(logits, history, config).isinf().tolist() == [
        [False] * 4,
        [False] * 2 + [True, False],
    ]


def test_if_every_token_would_repeat_an_n_gram_none_is_blocked() -> None:
    logits = torch.randn(1, 3)
    config = DecodingConfig(no_repeat_ngram=1)
    assert torch.equal(penalised(logits, tiny.history([0, 1, 2]), config), logits)


@pytest.mark.parametrize("made", [Greedy(), Ancestral(0.7), tiny.decoding("sample", top_k=3)])
def test_probabilities_are_those_with_which_tokens_are_chosen(made: Decoding) -> None:
    logits = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).double()
    n = 5000
    draws = (torch.arange(n) + 0.5) / n
    scores = made.scores(logits, tiny.history([0]))
    shares = torch.bincount(made.choose(scores.expand(n, -1), draws.double()), minlength=7) / n
    torch.testing.assert_close(made.probabilities(scores)[0], shares.double(), rtol=0, atol=1e-3)


class Counting(Decoding):
    """Returns the number of tokens of the completion, as counted by its states."""

    def begin(self) -> int:
        return 0

    def advance(self, state: int, token: int) -> int:
        return state + 1

    def scores(self, logits: torch.Tensor, history: History) -> torch.Tensor:
        self.states = list(history.states)
        return torch.nn.functional.one_hot(torch.tensor(self.states) + 20, logits.shape[1]).double()

    def choose(self, scores: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        return scores.argmax(-1)


def test_the_state_of_a_decoding_follows_its_row() -> None:
    """Of each completion, the n-th token is 20 + n, also after rows were dropped."""
    rows = tiny.continuations(tiny.network(), [[30], [31], [32]], 6, Counting())
    assert rows == [list(range(20, 26))] * 3
    history = tiny.history([5], [6], [7])
    history = History(history.tokens, [0, 1, 2]).select(torch.tensor([2, 0, 2]))
    assert (history.tokens[:, 0].tolist(), history.states) == ([7, 5, 7], [2, 0, 2])
    history = history.extend(torch.tensor([1, 2, 3]), Counting())
    assert (history.tokens[:, 1].tolist(), history.states) == ([1, 2, 3], [3, 1, 3])


def test_seen_ids_follow_the_rows_as_they_grow_and_are_selected() -> None:
    history = tiny.history([5], [6, 3], [7, 7])
    history.seen(9)
    rows = torch.tensor([2, 0, 2])
    later = history.select(rows).extend(torch.tensor([1, 5, 8]), Greedy())
    wanted = History(later.tokens, later.states).seen(9)
    assert torch.equal(later.seen(9), wanted)
    assert wanted.sum(1).tolist() == [2, 1, 2]
    assert history.seen(9).sum(1).tolist() == [1, 2, 1]  # a row may go back


def test_a_repeated_n_gram_length_below_1_is_an_error() -> None:
    with pytest.raises(ValueError, match="no_repeat_ngram must be at least 1 or null, got 0"):
        DecodingConfig(no_repeat_ngram=0)
