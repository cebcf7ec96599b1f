"""Shared by tests of preference objectives: pairs, a golden loss, and TRL's trainer."""

import math
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import tiny
import torch
from torch import Tensor

from etude.objective.batches import PreferenceExample

PAIRS = [
    PreferenceExample([2, 200, 201], [202, 203, 3], [204, 3]),
    PreferenceExample([2, 200], [205, 3], [206, 207, 208, 3]),
]
POLICY, REFERENCE, LENGTHS = [[-10.0], [-14.0]], [[-11.0], [-13.0]], [[8], [10]]
"""Log-probabilities and lengths of the golden pair: chosen, then rejected."""
N_CASES = 1000


def golden_loss(name: str, **config: Any) -> float:
    """The loss of the golden pair, with nll_weight=0 unless it is passed."""
    values: dict[str, Any] = {"nll_weight": 0.0} | config
    objective = tiny.objective(name, **values)
    policy, reference = (torch.tensor(x, dtype=torch.float64) for x in (POLICY, REFERENCE))
    of_reference = None if objective.reference is None else reference
    losses, _ = objective.pair_losses(policy, of_reference, torch.tensor(LENGTHS))
    return float(losses)


def cases(dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities per token under policy and reference, and lengths: [side case token].

    They are 0 after the end of a completion.
    """
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 25, (2, N_CASES), generator=draw)
    inside = torch.arange(24) < lengths[..., None]
    scale = 10 ** (2 * torch.rand(2, N_CASES, 1, generator=draw, dtype=torch.float64) - 1.5)
    policy, reference = (
        -scale * torch.rand(2, N_CASES, 24, generator=draw, dtype=torch.float64) - 1e-3
        for _ in range(2)
    )
    return (policy * inside).to(dtype), (reference * inside).to(dtype), lengths


def losses_and_gradients(name: str, dtype: torch.dtype, **config: Any) -> tuple[Tensor, Tensor]:
    """Our losses of all cases, and their gradients with respect to the policy's tokens."""
    policy, reference, lengths = cases(dtype)
    policy.requires_grad_()
    objective = tiny.objective(name, **config)
    of_reference = None if objective.reference is None else reference.sum(-1)
    losses, _ = objective.pair_losses(policy.sum(-1), of_reference, lengths)
    losses.sum().backward()
    assert policy.grad is not None
    return losses.detach(), policy.grad


def trl_dpo(kind: str, dtype: torch.dtype, **values: Any) -> tuple[Tensor, Tensor]:
    """The mean loss of TRL's DPOTrainer over all cases, and the gradient of their sum."""
    from trl.trainer.dpo_trainer import DPOTrainer

    policy, reference, lengths = cases(dtype)
    policy.requires_grad_()
    inside = torch.arange(24) < lengths[..., None]
    mask = torch.nn.functional.pad(inside.flatten(0, 1), (1, 0)).long()  # one prompt token
    zeros = torch.zeros(2 * N_CASES, 24)
    unused = {"entropy": zeros, "mean_logits": zeros, "is_top1": zeros > 0}
    outputs = SimpleNamespace(log_probs=policy.flatten(0, 1), **unused)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SingleProcess(),
        loss_types=[kind],
        loss_weights=[1.0],
        f_divergence_type="reverse_kl",
        precompute_ref_logps=True,
        aux_loss_enabled=False,
        ld_alpha=None,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **values,
    )
    logps = dict(zip(("ref_chosen_logps", "ref_rejected_logps"), reference.sum(-1), strict=True))
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask, **logps}
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)  # type: ignore[arg-type]
    (N_CASES * loss).backward()
    assert policy.grad is not None
    return loss.detach(), policy.grad


class SingleProcess:
    """Replaces the accelerator of accelerate, for one process."""

    device = torch.device("cpu")
    num_processes = 1

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value

    def gather(self, value: Tensor) -> Tensor:
        return value

    gather_for_metrics = gather


def tolerance(dtype: torch.dtype) -> dict[str, Any]:
    """1e-6 in fp32, 1e-12 in fp64; relative for values above 1."""
    error = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    return {"rtol": error, "atol": error}


def assert_as_trl(name: str, kind: str, dtype: torch.dtype, **values: Any) -> None:
    """Our loss and its gradient equal TRL's, with the same beta."""
    config = {key: values.pop(key) for key in ("beta", "log_prob", "flip_rate") if key in values}
    values |= {"beta": config["beta"], "label_smoothing": config.get("flip_rate", 0.0)}
    losses, gradient = losses_and_gradients(name, dtype, **config)
    loss, expected = trl_dpo(kind, dtype, **values)
    torch.testing.assert_close(losses.mean(), loss, **tolerance(dtype))
    torch.testing.assert_close(gradient, expected, **tolerance(dtype))
    assert math.isfinite(float(loss))
    assert float(expected.abs().max()) > 1e-3
