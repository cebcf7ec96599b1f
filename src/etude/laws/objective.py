"""Laws of objectives, and of the networks they train: sums, gradients, a decreasing loss.

Tested on one batch without a training loop; `runs` contains the laws of whole runs. The batch of an
on-policy objective is a rollout, whose loss is compared after its policy has moved: before, the
advantages of a group add up to 0.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.data.token_rows import TokenRow
from etude.laws.trial import Trial, batch_of, examples_of
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.inputs import Targets
from etude.objective.batches import PreferenceBatch, TextBatch
from etude.objective.log_probs import sequence_log_prob
from etude.objective.loss import Loss
from etude.objective.objective import Objective
from etude.objective.randomness import TRAIN, rng
from etude.rl.on_policy import OnPolicyObjective
from etude.training.assemble import TrainingParts

N_SAMPLES = 8
N_STEPS = 60
MOST_STEPS = 150
"""Steps on one batch if its loss has not fallen after `N_STEPS`."""
N_LAST = 20
"""The steps whose mean is the result of noisy ones."""
MOVE = 0.02
"""Standard deviation of a small change of weights."""
LR = 1e-2
FALL = 0.2
"""Relative decrease of the first loss that counts as learned."""
ROUNDING = 1e-9
ALPHABET = 16
"""Number of different tokens in random text."""
TOLERANCE = 0.05
"""Relative deviation of a mean over random tokens, and of a loss from its count, that is chance."""
RISES = re.compile(r"((^|[/_])(accuracy|margin)s?|^rewards?)$")
"""Metrics that rise when the loss falls."""


def shapes_and_sums(trial: Trial) -> Finding:
    """The loss is a finite scalar with a gradient, metrics are detached, counts are positive."""
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
    """Counts, losses and metrics of the parts of a batch add up to those of the whole."""
    made = trial.assemble()
    if trial.plugin.declaration.batch_statistic or made.objective.compares_samples:
        return not_applicable("the loss of a sample depends on other samples")
    examples = examples_of(made, range(N_SAMPLES))
    parts = [examples, *([example] for example in examples)]
    whole, *rest = _sums(made, [made.objective.collate(part) for part in parts])
    added = {name: math.fsum(part[name] for part in rest) for name in whole}
    if not whole["loss"]:
        return not_applicable("the loss of these samples is 0, so nothing is compared")
    for name, value in whole.items():
        rounding = ROUNDING if name in ("loss", "count") else 1e-5  # metrics may have 32 bits
        if not math.isclose(value, added[name], rel_tol=rounding, abs_tol=rounding):
            return broken(f"{name} is {value:.6g} in a batch, and {added[name]:.6g} one by one")
    return held(f"{whole['loss']:.6g} over {whole['count']:g} in a batch and one by one")


def the_count_is_what_the_loss_sums_over(trial: Trial) -> Finding:
    """Over samples of several lengths, the loss grows with the count: with tokens, or samples."""
    made = trial.assemble()
    if trial.is_on_policy or trial.plugin.declaration.batch_statistic:
        return not_applicable("losses depend on the advantage or on other samples")
    logits: list[Tensor] = []
    made.objective.network.register_forward_hook(lambda _m, _i, out: logits.append(_kept(out)))
    rows: list[tuple[float, float, int]] = []
    for batch in _of_several_lengths(made):
        total = made.objective.loss(batch).total
        total.backward()
        n = sum(int(x.grad.any(-1).sum()) for x in logits if x.grad is not None)
        logits.clear()
        if count := made.objective.count(batch):
            rows.append((float(total.detach()), count, n))
    losses, counts, tokens = np.array(rows).T
    if not tokens.all():
        return not_applicable("it uses no logits of its network")
    natural = min((np.ones_like(counts), tokens), key=lambda unit: _spread(losses / unit))
    grows_with = "tokens" if natural is tokens else "samples"
    if natural is tokens and not np.array_equal(counts, tokens):
        shown = ", ".join(f"{c:g} of {n:g}" for c, n in zip(counts[:3], tokens[:3], strict=True))
        return broken(f"the loss is a sum over tokens, but the counts of samples are {shown}")
    if _spread(losses / counts) > _spread(losses / natural) + TOLERANCE:
        return broken(f"the loss grows with the number of {grows_with}, but the count does not")
    return held(f"{grows_with}: {counts.sum():g}")


def random_tokens_are_not_predicted(trial: Trial) -> Finding:
    """Trained on uniformly random tokens, the loss stays above log V: no target is visible."""
    made = trial.assemble()
    batches = list(_random_text(made))
    if not batches or trial.config.objective.task is not trial.config.objective:
        return not_applicable("it does not predict the tokens of raw text")
    hidden = [_n_hidden(batch.targets, made) for batch in batches]
    n_targets = sum(int(batch.targets.where.sum()) for batch in batches)
    if sum(hidden) < n_targets / 2:
        return broken(
            f"only {sum(hidden):,} of {n_targets:,} targets differ from their input token"
        )
    if batches[0].targets.inputs.source is not None:
        return not_applicable("the source may contain the target")
    losses = [float(loss.total.detach()) for _, loss in _steps(made, batches)]
    last = sum(losses[-N_LAST:]) / sum(hidden[-N_LAST:])
    least = math.log(ALPHABET)
    return holds(last >= (1 - TOLERANCE) * least, f"loss {last:.4g} nats, log V {least:.4g}")


def gradients_reach_every_parameter(trial: Trial) -> Finding:
    """Every trainable parameter gets a gradient, once none of them is 0 as at initialization."""
    made = trial.assemble()
    batch = batch_of(made, range(N_SAMPLES))
    _move(made.objective)
    made.objective.loss(batch).total.backward()
    trainable = {n: p for n, p in made.objective.named_parameters() if p.requires_grad}
    idle = [n for n, p in trainable.items() if p.grad is None or not bool(p.grad.any())]
    if idle:
        shown = ", ".join(idle[:4]) + (" ..." if len(idle) > 4 else "")
        return broken(f"{len(idle)} of {len(trainable)} get no gradient: {shown}")
    return held(f"{len(trainable)} tensors")


def samples_are_reproducible(trial: Trial) -> Finding:
    """The same records and random state give the same samples, which a loss does not modify."""
    made = trial.assemble()
    one, two = (batch_of(made, range(N_SAMPLES)) for _ in range(2))
    losses = [sums["loss"] for sums in _sums(made, [one, two, one])]
    shown = " and ".join(f"{loss:.6g}" for loss in dict.fromkeys(losses))
    return holds(len(set(losses)) == 1, f"{shown} for the same samples")


def overfits_a_batch(trial: Trial) -> Finding:
    """A few Adam steps on one batch reduce its loss, and its accuracy or margin does not fall."""
    if trial.is_on_policy:
        return not_applicable("its samples are completions of the network")
    made = trial.assemble()
    batch = batch_of(made, range(N_SAMPLES))
    count = max(made.objective.count(batch), 1.0)
    losses: list[float] = []
    qualities: list[Mapping[str, float]] = []
    fell = False
    for _, loss in _steps(made, [batch] * MOST_STEPS):
        losses.append(float(loss.total.detach()) / count)
        fell = losses[0] - losses[-1] >= FALL * abs(losses[0])
        is_last = len(losses) == MOST_STEPS or (fell and len(losses) >= N_STEPS)
        if is_last or len(losses) == 1:
            qualities.append(_quality(made, batch, loss))
        if is_last:
            break
    evidence = f"{losses[0]:.4g} fell to {losses[-1]:.4g} in {len(losses)} steps"
    for name, was in qualities[0].items():
        if qualities[-1][name] < was - TOLERANCE * max(1.0, abs(was)):
            return broken(f"{evidence}, but {name} from {was:.4g} to {qualities[-1][name]:.4g}")
    return holds(fell, evidence)


def the_reward_rises(trial: Trial) -> Finding:
    """A few Adam steps on rollouts of the policy raise their mean reward."""
    if not trial.is_on_policy or trial.plugin.declaration.reward is None:
        return not_applicable("it uses no reward of completions of the network")
    made = trial.assemble()
    source = made.loader.source
    rollouts = (made.objective.collate(source.next_step_batch().examples) for _ in range(N_STEPS))
    rewards = [_quality(made, *pair)["reward"] for pair in _steps(made, rollouts)]
    first, last = (float(np.nanmean(part)) for part in (rewards[:N_LAST], rewards[-N_LAST:]))
    if not np.nanstd(rewards):
        return not_applicable(f"every reward is {first:.4g}, so nothing can be learned")
    return holds(last > first, f"{first:.4g} rose to {last:.4g} in {N_STEPS} steps")


def _steps(made: TrainingParts, batches: Iterable[Any]) -> Iterator[tuple[Any, Loss]]:
    """Takes an Adam step on each batch; yields it with its loss before the step."""
    objective = made.objective
    adam = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], LR)
    layers = [m for m in objective.modules() if isinstance(m, AuxiliaryLoss)]
    for batch in batches:
        loss = objective.loss(batch)
        yield batch, loss
        total = loss.total
        for auxiliary in (layer.pop() for layer in layers):
            total = total if auxiliary is None else total + auxiliary
        adam.zero_grad()
        (total / max(objective.count(batch), 1.0)).backward()
        adam.step()


def _sums(made: TrainingParts, batches: Sequence[Any]) -> list[dict[str, float]]:
    """Returns loss, count and metrics of each batch; a policy has moved since it sampled."""
    objective = made.objective.eval()
    if isinstance(objective, OnPolicyObjective):
        _move(objective)
    with torch.no_grad():
        losses = [(objective.loss(batch), objective.count(batch)) for batch in batches]
    return [
        {"loss": float(loss.total), "count": n, **{k: float(v) for k, v in loss.metrics.items()}}
        for loss, n in losses
    ]


def _move(objective: Objective[Any, Any]) -> None:
    """Changes every trainable weight a little, as training does."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in (p for p in objective.parameters() if p.requires_grad):
            p.add_(MOVE * torch.randn(p.shape, generator=generator, dtype=p.dtype))


def _quality(made: TrainingParts, batch: Any, loss: Loss) -> dict[str, float]:
    """Returns what should rise while a loss falls: its own metrics, and the preferred answers."""
    count = made.objective.count(batch) or math.nan
    means = {name: float(value) / count for name, value in loss.metrics.items()}
    reported = made.objective.report({"loss": float(loss.total.detach()) / count, **means})
    found = {name: value for name, value in reported.items() if RISES.search(name)}
    if isinstance(batch, PreferenceBatch):
        with torch.no_grad():
            sides = (
                sequence_log_prob(made.objective.network, x) for x in (batch.chosen, batch.rejected)
            )
            chosen, rejected = (float(side.mean()) for side in sides)
        found["log p(chosen) - log p(rejected)"] = chosen - rejected
    return found


def _of_several_lengths(made: TrainingParts) -> Iterator[Any]:
    """Yields batches of one sample each; rows of raw text are cut to different lengths."""
    for i in range(N_SAMPLES):
        sample = made.train[i]
        if isinstance(sample, TokenRow):
            n = len(sample.tokens) * (i + N_SAMPLES) // (2 * N_SAMPLES)
            sample = replace(sample, tokens=sample.tokens[:n], documents=sample.documents[:n])
        yield _collate(made, [sample])


def _random_text(made: TrainingParts) -> Iterator[TextBatch]:
    """Yields batches of raw text in which each token is drawn from a small alphabet."""
    rows = [made.train[i] for i in range(N_SAMPLES)]
    special = [*made.objective.tools.tokenizer.vocab.special]
    draw = np.random.default_rng(0)
    for step in range(N_STEPS):
        if not all(isinstance(row, TokenRow) for row in rows):
            return
        random: list[TokenRow] = []
        for row in rows:
            alphabet = np.setdiff1d(rows[0].tokens, special)[:ALPHABET]
            drawn = draw.choice(alphabet, len(row.tokens))
            tokens = np.where(np.isin(row.tokens, special), row.tokens, drawn)
            random.append(replace(row, tokens=tokens))
        batch = _collate(made, random, step)
        if isinstance(batch, TextBatch):
            yield batch


def _n_hidden(targets: Targets, made: TrainingParts) -> int:
    """Returns how many targets are text, and not the token at the same position of the input."""
    ids = targets.ids[targets.where]
    special = torch.tensor(sorted(made.objective.tools.tokenizer.vocab.special))
    return int((~torch.isin(ids, special) & (ids != targets.inputs.tokens[targets.where])).sum())


def _collate(made: TrainingParts, samples: Sequence[Any], step: int = 0) -> Any:
    objective = made.objective
    return objective.collate(
        [objective.example(sample, rng(0, TRAIN, step, i)) for i, sample in enumerate(samples)]
    )


def _kept(logits: Tensor) -> Tensor:
    logits.retain_grad()
    return logits


def _spread(values: np.ndarray) -> float:
    """Returns the standard deviation relative to the mean size."""
    return float(np.std(values) / (np.abs(values).mean() or 1.0))
