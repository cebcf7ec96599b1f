"""The gradient of a step: its norm, and the reasons to drop it, so that no weight changes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from etude.errors import NonFiniteError

EMPTY = "nothing to train on"
"""Reason to skip a step whose global batch has a count of 0."""
NON_FINITE = "loss or gradient not finite"
"""Reason to skip a step under `trainer.non_finite=skip`."""


def total_norm(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, float]:
    """Returns the norm of all gradients as torch's clipping takes it, and as a number."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm, float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def drop(parameters: Sequence[nn.Parameter]) -> None:
    """Removes the gradients: optimizers change neither weights nor moments without them."""
    for parameter in parameters:
        parameter.grad = None


def non_finite_error(step: int, loss: float, norm: float, digest: str) -> NonFiniteError:
    """Returns the error for a step that is not taken because a number of it is not finite."""
    return NonFiniteError(
        f"The loss of step {step} is {loss:.4g} and its gradient norm is {norm:.4g}; the step was "
        "not taken.\n"
        f"  Digest of the step's samples: {digest}.\n"
        "  A lower optimizer.lr or trainer.precision=32 often helps. To skip such steps and count "
        "them,\n  resume the run with trainer.non_finite=skip."
    )
