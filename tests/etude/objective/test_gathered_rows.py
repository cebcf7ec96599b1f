"""Rows of a whole global batch: the micro-batches' gradients add up to that of the whole."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from etude.objective.gathered_rows import GatheredRows, own_sum
from etude.objective.randomness import isolated_randomness

N = 8
CUTS = [(range(8),), (range(4), range(4, 8)), (range(3), range(3, 7), range(7, 8))]
INTERLEAVED = [(range(0, 8, 2), range(1, 8, 2))]
INPUTS = torch.randn(N, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def pairwise_losses(rows: Tensor) -> Tensor:
    """A loss of each row that depends on all rows."""
    return (rows @ rows.T).logsumexp(1)


def encoder(dropout: float) -> nn.Module:
    with isolated_randomness(0):
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout)).double()


def alone(value: Tensor) -> Tensor:
    """The sum over the ranks of a run with one."""
    return value


def gradient(net: nn.Module, cut: Sequence[Sequence[int]]) -> tuple[float, Tensor]:
    """Loss and gradient, micro-batch by micro-batch."""
    gathered = GatheredRows()
    with torch.no_grad():
        for part in cut:
            gathered.add(part, partial(net, INPUTS[list(part)]))
    gathered.gather(alone)
    total = 0.0
    for part in cut:
        gathered.enter(part, replay=True)
        rows, own = gathered.with_gradient(net(INPUTS[list(part)]))
        loss = own_sum(pairwise_losses(rows), own)
        loss.backward()
        total += float(loss.detach())
    return total, torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("cut", [*CUTS, *INTERLEAVED])
def test_every_split_has_the_loss_and_the_gradient_of_the_whole(cut: Sequence[range]) -> None:
    net = encoder(0.0)
    wanted = pairwise_losses(net(INPUTS)).sum()
    wanted.backward()
    whole = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    total, found = gradient(encoder(0.0), cut)
    assert total == pytest.approx(float(wanted.detach()), rel=1e-12)
    torch.testing.assert_close(found, whole, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("cut", CUTS)
def test_dropout_is_the_same_in_both_passes(cut: Sequence[range]) -> None:
    """So the gradient is that of one pass over all rows with these masks."""
    net = encoder(0.5)
    with isolated_randomness(1):
        rows = torch.cat([net(INPUTS[list(part)]) for part in cut])
        wanted = pairwise_losses(rows).sum()
        after = torch.rand(1)
    wanted.backward()
    whole = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    with isolated_randomness(1):
        total, found = gradient(encoder(0.5), cut)
        assert torch.rand(1) == after
    assert total == pytest.approx(float(wanted.detach()), rel=1e-12)
    torch.testing.assert_close(found, whole, rtol=0.0, atol=1e-12)


def test_rows_of_all_ranks_are_in_the_order_of_the_samples() -> None:
    """Two ranks with different numbers of rows; a batch that does not count adds none."""
    ranks = GatheredRows(), GatheredRows()
    for rank, positions in zip(ranks, ([0, 2, 4], [1, 3]), strict=True):
        rank.add(positions, lambda p=positions: torch.tensor([[float(i)] for i in p]))
    ranks[1].add((), lambda: torch.tensor([[0.0]]))
    tables: list[list[Tensor]] = [[], []]
    for rank, seen in zip(ranks, tables, strict=True):
        rank.gather(recording(5, seen))
    torch.testing.assert_close(tables[0][0] + tables[1][0], torch.arange(5.0)[:, None])


def recording(n: int, seen: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """A sum over ranks with `n` rows in total that keeps this rank's table, to be added later."""

    def over_ranks(value: Tensor) -> Tensor:
        if value.ndim == 0:
            return torch.tensor(n)
        seen.append(value)
        return value

    return over_ranks
