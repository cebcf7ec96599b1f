"""The rows of a whole global batch, so that a loss may compare each sample with all others.

Gao et al. 2021 (GradCache), https://arxiv.org/abs/2101.06983, section 3.2: a first pass without
gradient computes a row for every sample; a second one, micro-batch by micro-batch and with the same
dropout, carries the gradient. The gradients of the micro-batches, over all ranks, add up to that of
the whole. Deviation: each micro-batch computes the loss over all rows, which is cheap compared to
the network, instead of receiving the gradients of its rows; `loss` remains a plain function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.objective.randomness import global_state, restore_global


class GatheredRows:
    """One row for each sample of a global batch, without gradient, in the order of the samples."""

    def __init__(self) -> None:
        self.rows = torch.zeros(0)
        self._parts: list[tuple[Sequence[int], Tensor]] = []
        self._states: dict[int, dict[str, Any]] = {}
        self._own: Sequence[int] = ()

    def add(self, positions: Sequence[int], compute: Callable[[], Tensor]) -> None:
        """Adds the rows of the samples at these positions; none if they do not count."""
        if positions:
            self._states[positions[0]] = global_state()
        rows = compute()
        self._parts.append((positions, rows[: len(positions)]))

    def gather(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Joins the rows of all ranks; each rank has different positions."""
        n = int(over_ranks(torch.tensor(sum(len(positions) for positions, _ in self._parts))))
        first = self._parts[0][1]
        table = first.new_zeros(n, *first.shape[1:])
        for positions, rows in self._parts:
            table[torch.tensor(positions, dtype=torch.long, device=table.device)] = rows
        self.rows = over_ranks(table)  # the others have zeros there
        self._parts = []

    def enter(self, positions: Sequence[int], *, replay: bool) -> None:
        """Sets the samples of the current micro-batch; `replay` repeats the dropout of `add`."""
        self._own = positions
        if replay:
            restore_global(self._states[positions[0]])

    def with_gradient(
        self, rows: Float[Tensor, "own ..."]
    ) -> tuple[Float[Tensor, "sample ..."], Int[Tensor, " own"]]:
        """Returns all rows, with `rows` as those of the current micro-batch, and its positions."""
        own = torch.tensor(self._own, dtype=torch.long, device=rows.device)
        return self.rows.to(rows).index_copy(0, own, rows), own


def own_sum(losses: Float[Tensor, " sample"], own: Int[Tensor, " own"]) -> Float[Tensor, ""]:
    """The sum of the losses at `own`, with the gradient of the sum of all losses.

    The rows of a micro-batch also change the losses of other samples, whose values other
    micro-batches add.
    """
    total = losses[own].sum()
    others = losses.sum() - total
    return total + (others - others.detach())
