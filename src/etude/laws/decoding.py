"""Laws of decoding: a valid token for every random draw, independent of the rest of the batch."""

import torch
from torch import Tensor

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.network.decoding import NO_TOKEN, Decoding, History

ROWS = 16
N_TOKENS = 8
DRAWS = (0.0, 0.25, 0.5, 1 - 2**-24)


def every_row_has_a_finite_score(trial: Trial) -> Finding:
    """Scores have the shape of the logits, no NaN, and at least one finite value in each row."""
    logits, history = _inputs(trial)
    scores = _build(trial).scores(logits, history)
    if scores.shape != logits.shape or bool(scores.isnan().any()):
        return broken(f"scores {tuple(scores.shape)} of logits {tuple(logits.shape)}, or NaN")
    left, n = scores.isfinite().sum(-1), logits.shape[-1]
    return holds(bool((left > 0).all()), f"{int(left.min())} to {int(left.max())} of {n} tokens")


def excluded_tokens_are_never_chosen(trial: Trial) -> Finding:
    """The chosen token has a finite score, for every draw from 0 to just below 1."""
    decoding, (logits, history) = _build(trial), _inputs(trial)
    scores = decoding.scores(logits, history)
    for draw in DRAWS:
        chosen = decoding.choose(scores, torch.full((ROWS,), draw))
        if not bool(((chosen >= 0) & (chosen < logits.shape[-1])).all()):
            return broken(f"a draw of {draw:g} chooses an id outside the vocabulary")
        if not bool(scores.gather(1, chosen[:, None]).isfinite().all()):
            return broken(f"a draw of {draw:g} chooses a token whose score is -inf")
    return held(f"{len(DRAWS)} draws from 0 to just below 1")


def rows_do_not_depend_on_the_batch(trial: Trial) -> Finding:
    """A row alone has the same scores and the same token as in a batch."""
    decoding, (logits, history) = _build(trial), _inputs(trial)
    together = decoding.scores(logits, history)
    rows = [(logits[i : i + 1], history.select(torch.tensor([i]))) for i in range(ROWS)]
    alone = torch.cat([decoding.scores(*row) for row in rows])
    same = torch.allclose(together, alone, rtol=0, atol=1e-12)
    return holds(same, f"{ROWS} rows in a batch and one by one")


def logits_are_not_modified(trial: Trial) -> Finding:
    """The input logits are not modified."""
    logits, history = _inputs(trial)
    before = logits.clone()
    _build(trial).scores(logits, history)
    return holds(torch.equal(before, logits), "the logits before and after")


def a_state_stays_valid_after_it_is_advanced(trial: Trial) -> Finding:
    """Advancing the state of a row by a token does not change what the old state allows."""
    decoding, (logits, history) = _build(trial), _inputs(trial)
    before = decoding.scores(logits, history)
    history.extend(before.argmax(-1), decoding)
    return holds(torch.equal(before, decoding.scores(logits, history)), "scores before and after")


def _build(trial: Trial) -> Decoding:
    return build(trial.tested, trial.corpus.tokenizer)


def _inputs(trial: Trial) -> tuple[Tensor, History]:
    n = trial.corpus.tokenizer.vocab.size
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(ROWS, n, generator=draw, dtype=torch.float64)
    tokens = torch.randint(n, (ROWS, N_TOKENS), generator=draw)
    states = [_build(trial).begin() for _ in range(ROWS)]
    return logits, History(tokens.masked_fill(tokens < n // 8, NO_TOKEN), states)
