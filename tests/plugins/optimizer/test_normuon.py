"""NorMuon equals pytorch-optimizer's inside blocks; AdamW updates the rest."""

from typing import Any

import pytest
import tiny
import torch
from optimizers import noise
from pytorch_optimizer import NorMuon

from etude.config.registry import build
from etude.plugins.optimizer.normuon import normalised, orthogonalised
from etude.training.optim import optimizer_parameters

VALUES: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.3, "momentum": 0.8, "ns_steps": 4}


def test_equals_the_package_inside_blocks_and_torch_adamw_elsewhere() -> None:
    ours, theirs = (tiny.network(tiny.stack(tie=False)) for _ in range(2))
    config = tiny.part("optimizer", "normuon", **VALUES, row_beta=0.7, beta2=0.8)
    optimizer = build(config, optimizer_parameters(ours))
    parts: dict[str, list[torch.nn.Parameter]] = {"matrix": [], "head": [], "rest": []}
    for name, p in theirs.named_parameters():
        kind = "matrix" if ".blocks." in name and p.ndim == 2 else "rest"
        parts["head" if name == "head.out.weight" else kind].append(p)
    groups: list[Any] = [
        {"params": parts["matrix"], "use_muon": True, "beta2": 0.7, "update_scale": "match_rms"}
    ]
    reference = NorMuon(groups, foreach=False, **VALUES)
    rest: Any = [
        {"params": parts["head"], "weight_decay": 0.3},
        {"params": parts["rest"], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=(0.9, 0.8), fused=True)
    for seed in range(5):
        noise(ours, seed)
        optimizer.step()
        noise(theirs, seed)
        reference.step()
        adamw.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0.0, atol=1e-10, msg=name)


def test_every_row_of_the_first_update_has_the_same_size() -> None:
    """The first running mean is a multiple of the row's own mean square."""
    update, rows = torch.randn(6, 9), torch.zeros(6, 1)
    sizes = normalised(update, rows, 0.95).square().mean(dim=1).sqrt()
    torch.testing.assert_close(sizes, torch.full((6,), 0.2))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5)])
def test_singular_values_become_about_1(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape), 5))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3


def test_values_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match="row_beta must be"):
        tiny.part("optimizer", "normuon", lr=0.1, row_beta=1.0)
