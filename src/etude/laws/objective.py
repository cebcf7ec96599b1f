"""Laws of objectives, and of the networks they train: sums, gradients, a decreasing loss.

Tested on one batch without a training loop; `runs` contains the laws of whole runs.
"""

import math

import torch

from etude.laws.trial import Trial, batch_of
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.network.auxiliary_loss import AuxiliaryLoss

N_SAMPLES = 8
N_STEPS = 60
LR = 1e-2
FALL = 0.2
"""Relative decrease of the first loss that counts as learned."""
ROUNDING = 1e-9
ON_POLICY = "its samples are completions of the network"


def shapes_and_sums(trial: Trial) -> Finding:
    """The loss is a finite scalar with a gradient, metrics are detached, counts are positive."""
    if trial.is_on_policy:
        return not_applicable(ON_POLICY)
    made = trial.assemble()
    batch = batch_of(made, range(N_SAMPLES))
    loss = made.objective.loss(batch)
    count = made.objective.count(batch)
    total = loss.total
    if total.ndim or not total.requires_grad or not math.isfinite(float(total.detach())):
        return broken(
            f"the total has shape {tuple(total.shape)}, value {total.detach().tolist()} and "
            f"{'a' if total.requires_grad else 'no'} gradient; it must be a finite scalar with one"
        )
    attached = [name for name, value in loss.metrics.items() if value.requires_grad or value.ndim]
    if attached:
        return broken(f"metrics must be detached scalars: {', '.join(attached)} are not")
    return holds(count > 0, f"loss {float(total.detach()) / max(count, 1):.4g} over {count:g}")


def counts_add_up(trial: Trial) -> Finding:
    """Counts and loss sums of the parts of a batch add up to those of the whole."""
    if trial.is_on_policy:
        return not_applicable(ON_POLICY)
    if trial.plugin.declaration.batch_statistic:
        return not_applicable("it declares batch_statistic")
    made = trial.assemble()
    made.objective.eval()
    parts = [batch_of(made, [i]) for i in range(N_SAMPLES)]
    whole = batch_of(made, range(N_SAMPLES))
    with torch.no_grad():
        one = float(made.objective.loss(whole).total), made.objective.count(whole)
        many = [(float(made.objective.loss(p).total), made.objective.count(p)) for p in parts]
    total, count = (math.fsum(column) for column in zip(*many, strict=True))
    evidence = f"{one[0]:.6g} over {one[1]:g} in a batch, {total:.6g} over {count:g} one by one"
    same = math.isclose(one[0], total, rel_tol=ROUNDING, abs_tol=ROUNDING) and one[1] == count
    return holds(same, evidence)


def gradients_reach_every_parameter(trial: Trial) -> Finding:
    """Every trainable parameter gets a gradient."""
    if trial.is_on_policy:
        return not_applicable(ON_POLICY)
    made = trial.assemble()
    made.objective.loss(batch_of(made, range(N_SAMPLES))).total.backward()
    trainable = {n: p for n, p in made.objective.named_parameters() if p.requires_grad}
    idle = [n for n, p in trainable.items() if p.grad is None or not bool(p.grad.any())]
    if idle:
        shown = ", ".join(idle[:4]) + (" ..." if len(idle) > 4 else "")
        return broken(f"{len(idle)} of {len(trainable)} get no gradient: {shown}")
    return held(f"{len(trainable)} tensors")


def samples_are_reproducible(trial: Trial) -> Finding:
    """The same record and the same random state give the same sample."""
    if trial.is_on_policy:
        return not_applicable(ON_POLICY)
    made = trial.assemble()
    made.objective.eval()
    with torch.no_grad():
        first, second = (
            float(made.objective.loss(batch_of(made, range(N_SAMPLES))).total) for _ in range(2)
        )
    return holds(first == second, f"{first:.6g} and {second:.6g} for the same samples")


def overfits_a_batch(trial: Trial) -> Finding:
    """A few Adam steps on one batch reduce its loss."""
    if trial.is_on_policy:
        return not_applicable(ON_POLICY)
    made = trial.assemble()
    objective = made.objective
    batch = batch_of(made, range(N_SAMPLES))
    count = max(objective.count(batch), 1.0)
    adam = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], LR)
    layers = [m for m in objective.modules() if isinstance(m, AuxiliaryLoss)]
    losses: list[float] = []
    for _ in range(N_STEPS):
        total = objective.loss(batch).total
        losses.append(float(total.detach()) / count)
        adam.zero_grad()
        for auxiliary in (layer.pop() for layer in layers):
            total = total if auxiliary is None else total + auxiliary
        (total / count).backward()
        adam.step()
    first = losses[0]
    last = losses[-1]
    return holds(
        first - last >= FALL * abs(first), f"{first:.4g} fell to {last:.4g} in {N_STEPS} steps"
    )
