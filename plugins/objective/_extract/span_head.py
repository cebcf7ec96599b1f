"""The head that scores each token as the start and as the end of an answer.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 4.2; half the sum of the two
cross-entropies, as in the ForQuestionAnswering classes of transformers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude.network import to_fp32
from etude.objective import Loss


class SpanHead(nn.Linear):
    """The scores of each state as start and as end, in at least fp32; initially 0."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Float[Tensor, "window seq dim"]) -> Float[Tensor, "2 window seq"]:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(to_fp32(input)).movedim(-1, 0)


def span_loss(
    scores: Float[Tensor, "2 window seq"],
    start: Bool[Tensor, "window seq"],
    end: Bool[Tensor, "window seq"],
) -> Loss:
    """The sum over windows of -log p of the marked tokens in nats, and how many have both right."""
    target = torch.stack((start, end)).int().argmax(-1)
    losses = F.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none")
    is_right = (scores.argmax(-1) == target).all(0)
    return Loss(losses.sum() / 2, {"accuracy": is_right.sum()})
