"""Laws of decoding: a valid token for every random draw, independent of the rest of the batch."""

import torch
from torch import Tensor

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.network.decoding import Decoding

ROWS = 16
IDS = 31
DRAWS = (0.0, 0.25, 0.5, 1 - 2**-24)


def every_row_has_a_finite_score(trial: Trial) -> Finding:
    """Scores have the shape of the logits, no NaN, and at least one finite value in each row."""
    logits, seen = _inputs()
    scores = _build(trial).scores(logits, seen)
    if scores.shape != logits.shape or bool(scores.isnan().any()):
        return broken(f"scores {tuple(scores.shape)} of logits {tuple(logits.shape)}, or NaN")
    left = scores.isfinite().sum(-1)
    return holds(bool((left > 0).all()), f"{int(left.min())} to {int(left.max())} of {IDS} tokens")


def excluded_tokens_are_never_chosen(trial: Trial) -> Finding:
    """The chosen token has a finite score, for every draw from 0 to just below 1."""
    decoding, (logits, seen) = _build(trial), _inputs()
    scores = decoding.scores(logits, seen)
    for draw in DRAWS:
        chosen = decoding.choose(scores, torch.full((ROWS,), draw))
        if not bool(((chosen >= 0) & (chosen < IDS)).all()):
            return broken(f"a draw of {draw:g} chooses an id outside the vocabulary")
        if not bool(scores.gather(1, chosen[:, None]).isfinite().all()):
            return broken(f"a draw of {draw:g} chooses a token whose score is -inf")
    return held(f"{len(DRAWS)} draws from 0 to just below 1")


def rows_do_not_depend_on_the_batch(trial: Trial) -> Finding:
    """A row alone has the same scores and the same token as in a batch."""
    decoding, (logits, seen) = _build(trial), _inputs()
    together = decoding.scores(logits, seen)
    alone = torch.cat([decoding.scores(logits[i : i + 1], seen[i : i + 1]) for i in range(ROWS)])
    same = torch.allclose(together, alone, rtol=0, atol=1e-12)
    return holds(same, f"{ROWS} rows in a batch and one by one")


def logits_are_not_modified(trial: Trial) -> Finding:
    """The input logits are not modified."""
    logits, seen = _inputs()
    before = logits.clone()
    _build(trial).scores(logits, seen)
    return holds(torch.equal(before, logits), "the logits before and after")


def _build(trial: Trial) -> Decoding:
    return build(trial.tested)


def _inputs() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(ROWS, IDS, generator=draw, dtype=torch.float64)
    return logits, torch.rand(ROWS, IDS, generator=draw) < 0.2
