"""The group `decoding`: how the next token is chosen.

Repetition penalty: Keskar et al. 2019 (CTRL), https://arxiv.org/abs/1909.05858, section 4.1,
with negative logits multiplied; n-gram blocking: Paulus et al. 2017,
https://arxiv.org/abs/1705.04304, section 2.5. Both as in transformers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude.config.schema.decoding import DecodingConfig

NO_TOKEN = -1
"""Id in a `History` where a row has no token: padding, or a masked position."""


@dataclass(frozen=True)
class History:
    """What each row contains so far; if the prompt is a source, its ids do not count."""

    tokens: Int[Tensor, "batch seq"]
    """Ids of the prompt and the completion, in order; NO_TOKEN for padding."""
    states: Sequence[Any]
    """The state of the decoding for each row, see `Decoding.begin`; any type."""
    _seen: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    """Results of `seen`, which `extend` and `select` pass on: the text is read only once."""

    def seen(self, n_vocab: int) -> Bool[Tensor, "batch vocab"]:
        """Returns which ids each row contains."""
        if n_vocab not in self._seen:
            shape = (len(self.tokens), n_vocab + 1)  # the last column: no token
            ids = torch.where(self.tokens == NO_TOKEN, n_vocab, self.tokens)
            seen = self.tokens.new_zeros(shape, dtype=torch.bool)
            self._seen[n_vocab] = seen.scatter_(1, ids, True)[:, :n_vocab]
        return self._seen[n_vocab]

    def extend(self, tokens: Int[Tensor, " batch"], decoding: "Decoding") -> "History":
        """Returns the history with one more token in each row."""
        states = self.states
        if any(state is not None for state in states):  # else no token is copied from a GPU
            pairs = zip(states, tokens.tolist(), strict=True)
            states = [decoding.advance(state, token) for state, token in pairs]
        new = tokens[:, None]
        seen = {n: was.scatter(1, new, True) for n, was in self._seen.items()}
        return History(torch.cat((self.tokens, new), dim=1), states, seen)

    def select(self, rows: Int[Tensor, " kept"]) -> "History":
        """Returns the history of some rows, in this order; a row may occur several times."""
        seen = {n: was[rows] for n, was in self._seen.items()}
        return History(self.tokens[rows], [self.states[row] for row in rows.tolist()], seen)


class Decoding(ABC):
    """The group `decoding`: turns logits into a distribution, and that into the next token.

    A plugin is built from its config and the tokenizer.
    """

    def begin(self) -> Any:
        """Returns the state of a new completion, of any type; None = it has none (the default)."""
        return None

    def advance(self, state: Any, token: int) -> Any:
        """Returns the state after a token of the completion; not called without a state.

        The given state must stay valid: rows may be copied or go back to it.
        """
        return state

    @abstractmethod
    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        """Returns the logits that the next token is sampled from; -inf is never sampled.

        `logits` are at least fp32.
        """

    @abstractmethod
    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """Returns one token per row of `scores`; `draw` is a uniform number in [0, 1) per row."""

    def probabilities(self, scores: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """Returns the probability with which `choose` returns each token, for a uniform draw."""
        return scores.softmax(dim=-1)


class Greedy(Decoding):
    """The most likely token."""

    def __init__(self, penalties: DecodingConfig | None = None) -> None:
        self.penalties = penalties or DecodingConfig()

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        return penalised(logits, history, self.penalties)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return scores.argmax(dim=-1)

    def probabilities(self, scores: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        return F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).to(scores.dtype)


class Ancestral(Decoding):
    """A token sampled from softmax(logits / temperature)."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        return logits / self.temperature

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return sample_token(scores, draw)


def sample_token(
    scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """Samples one token per row from softmax(scores), by inverting the CDF at `draw`."""
    cdf = scores.softmax(dim=-1).cumsum(dim=-1)
    end = cdf[:, -1:]
    below = torch.nextafter(end, torch.zeros_like(end))  # a draw may round up to 1
    threshold = torch.minimum(draw[:, None].to(cdf.dtype) * end, below)
    return torch.searchsorted(cdf, threshold, right=True)[:, 0]


def penalised(
    logits: Float[Tensor, "batch vocab"], history: History, config: DecodingConfig
) -> Float[Tensor, "batch vocab"]:
    """Applies the knobs that all decodings share: the repetition penalty, then n-gram blocking.

    Positive logits of seen tokens are divided by the penalty, negative ones multiplied by it. A
    token that would repeat an n-gram gets -inf; if every token would, the logits are unchanged.
    """
    if (penalty := config.repetition_penalty) != 1.0:
        changed = torch.where(logits < 0, logits * penalty, logits / penalty)
        logits = torch.where(history.seen(logits.shape[-1]), changed, logits)
    if config.no_repeat_ngram is None:
        return logits
    blocked = logits.masked_fill(_repeating(history, config.no_repeat_ngram, logits), -torch.inf)
    return torch.where(blocked.isfinite().any(-1, keepdim=True), blocked, logits)


def _repeating(
    history: History, n: int, logits: Float[Tensor, "batch vocab"]
) -> Bool[Tensor, "batch vocab"]:
    """Marks the tokens that would complete an n-gram for the second time."""
    tokens = history.tokens
    if tokens.shape[1] < n:
        return torch.zeros_like(logits, dtype=torch.bool)
    ngrams = tokens.unfold(1, n, 1)  # batch start n
    last = tokens[:, None, tokens.shape[1] - n + 1 :]
    repeats = (ngrams[..., :-1] == last).all(-1) & (ngrams != NO_TOKEN).all(-1)
    return History(ngrams[..., -1].masked_fill(~repeats, NO_TOKEN), ()).seen(logits.shape[-1])
