"""The answer of a question, from the scores of the tokens of its windows.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3: the score of a
part is that of its start plus that of its end; that of no answer is the least of the windows', as
in transformers' `run_qa`. Deviation: every part is considered, instead of those with one of the 20
best starts and ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from etude import Question

from .windows import Window, WindowBatch

NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Answer:
    """A part of the context, or "" for no answer."""

    text: str
    probability: float
    """Of this answer among all parts of the context, in every window, and no answer."""
    start: int | None = None
    """Where it starts in the context, in characters; None for no answer."""

    @property
    def described(self) -> str:
        return f"[{self.probability:.1%}] {self.text or NO_ANSWER}"


@dataclass(frozen=True)
class ScoredWindow:
    """A window with the scores of the tokens of its context as start and as end."""

    window: Window
    scores: Float[Tensor, "2 token"]
    no_answer: Float[Tensor, ""]


def scored_windows(
    scores: Float[Tensor, "2 window seq"], batch: WindowBatch
) -> Iterator[ScoredWindow]:
    """Yields the windows of a held-out batch with their scores, in order."""
    assert batch.asked is not None
    windows = [window for _, windows in batch.asked.pairs for window in windows]
    marks = zip(batch.context.cpu(), batch.no_answer.cpu(), strict=True)
    for window, row, (context, none) in zip(
        windows, scores.detach().cpu().unbind(1), marks, strict=True
    ):
        yield ScoredWindow(window, row[:, context], row[:, none].sum())


def best_answer(
    record: Question, windows: Sequence[ScoredWindow], max_tokens: int, threshold: float | None
) -> Answer:
    """The part with the highest score, or no answer if that scores higher by the threshold.

    Parts have `max_tokens` tokens at most. A threshold of None gives no answer only if there is no
    part at all.
    """
    parts = [_parts(one, max_tokens) for one in windows]
    none = torch.stack([one.no_answer for one in windows]).amin()
    log_total = torch.cat([*(part.flatten() for part in parts), none[None]]).logsumexp(0)
    best = [float(part.amax()) if part.numel() else -torch.inf for part in parts]
    place = max(range(len(best)), key=best.__getitem__)
    is_none = threshold is not None and float(none) - best[place] > threshold
    if is_none or best[place] == -torch.inf:
        return Answer("", float((none - log_total).exp()))
    first, n_more = divmod(int(parts[place].argmax()), max_tokens)
    offsets = windows[place].window.offsets
    start, end = int(offsets[first, 0]), int(offsets[first + n_more, 1])
    return Answer(record.context[start:end], float((best[place] - log_total).exp()), start)


def _parts(one: ScoredWindow, max_tokens: int) -> Float[Tensor, "token length"]:
    """The score of each part of a window, by its first token and how many more it has.

    It is -inf for those that end after the window, or start or end with white space.
    """
    is_text = torch.as_tensor(one.window.offsets[:, 0] < one.window.offsets[:, 1])
    start, end = one.scores.masked_fill(~is_text, -torch.inf)
    ends = F.pad(end, (0, max_tokens), value=-torch.inf).unfold(0, max_tokens, 1)
    return start[:, None] + ends[:-1]
