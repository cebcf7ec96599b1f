"""Laws of runs: losses do not depend on micro-batch size or ranks, and resuming is exact."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from etude.config.config_file import node_of
from etude.config.plugin_source import descriptions
from etude.config.registry import load, plugin_of
from etude.files.run_folder import CHECKPOINTS, MODEL, SUMMARY, record_of
from etude.formats.checkpoint import newest_intact
from etude.laws.trial import Trial, batch_of
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.objective.ranks import Ranks
from etude.training.assemble import TrainingParts, assemble
from etude.training.run import corpus_of

ROUNDING = {"64": 1e-9, "32": 1e-4}
COARSE = 1e-1
"""Relative differences that summation order may cause over a few steps, by precision."""
ROUNDS = 7
NUMBERS = ("loss", "grad_norm")


def it_trains(trial: Trial) -> Finding:
    """A run trains from the first step to the last, and writes its records."""
    lines = record_of(trial.whole)
    steps = trial.config.trainer.max_steps
    finite = all(math.isfinite(line["loss"]) for line in lines)
    return holds(len(lines) == steps and finite, f"{len(lines)} steps, loss {_losses(trial.whole)}")


def cuts_change_nothing(trial: Trial) -> Finding:
    """Micro-batches of 1, of 4 and of the global batch give the same loss curve."""
    if trial.plugin.declaration.batch_statistic:
        return not_applicable("it declares batch_statistic")
    whole = trial.config.trainer.global_batch
    runs = {size: trial.run(f"cut_{size}", micro_batch=size) for size in (1, whole)}
    for size, run in runs.items():
        if off := apart(trial, run):
            return broken(f"micro_batch={trial.config.trainer.micro_batch} and {size}: {off}")
    return held(f"micro_batch 1, {trial.config.trainer.micro_batch}, {whole}: the same losses")


def a_resumed_run_is_the_same_to_the_bit(trial: Trial) -> Finding:
    """A run that lost its last steps resumes from its checkpoint with identical results."""
    whole = trial.whole
    resumed = trial.folder / "resumed"
    shutil.copytree(whole, resumed)
    last = newest_intact(resumed / CHECKPOINTS)
    assert last is not None
    shutil.rmtree(last)
    (resumed / SUMMARY).unlink()
    if newest_intact(resumed / CHECKPOINTS) is None:
        return not_applicable("it keeps no checkpoint before its last")
    trial.run("resumed")
    for before, after in zip_longest(record_of(whole), record_of(resumed)):
        if before != after:
            return broken(f"{_difference(before or {}, after or {})} after the resumption")
    one, two = (run / MODEL / "model.safetensors" for run in (whole, resumed))
    if one.exists() and one.read_bytes() != two.read_bytes():
        return broken("the weights of the resumed run are others")
    return held("record and weights")


def two_ranks_equal_one(trial: Trial) -> Finding:
    """Two processes that share each step have the loss curve of one process."""
    if trial.plugin.declaration.batch_statistic:
        return not_applicable("it declares batch_statistic")
    if trial.plugin.declaration.max_devices == 1:
        return not_applicable("it is for one device")
    several = plugin_of(trial.config.strategy).declaration.max_devices is None
    config = trial.config if several else replace(trial.config, strategy=_shared())
    run = trial.run("ranks", config, devices=2)
    if off := apart(trial, run):
        return broken(f"1 and 2 devices: {off}")
    return held(f"{plugin_of(config.strategy).address} of 2: the same losses")


def speed_beside_a_peer(trial: Trial) -> Finding:
    """Times forward and backward passes, alternating with another plugin of the group."""
    if trial.peer is None or trial.writes:
        return not_applicable("there is no peer to be timed beside")
    peer = assemble(trial.peer, corpus_of(trial.peer), Ranks())
    pair = [_passes(made) for made in (trial.assemble(), peer)]
    seconds: tuple[list[float], ...] = ([], [])
    for _ in range(ROUNDS):
        for taken, act in zip(seconds, pair, strict=True):
            began = time.perf_counter()
            act()
            taken.append(time.perf_counter() - began)
    own, theirs = (1000 * min(taken) for taken in seconds)  # the least disturbed runs
    return held(
        f"{own / theirs:.2f} of the time of {peer_name(trial)} ({own:.1f}, {theirs:.1f} ms)"
    )


def peer_name(trial: Trial) -> str:
    """Returns the name of the plugin that the tested one is timed against."""
    assert trial.peer is not None
    group = trial.plugin.address.rpartition("/")[0]
    return plugin_of(node_of(trial.peer, group)).address


def _passes(made: TrainingParts) -> Callable[[], None]:
    batch = batch_of(made, range(made.plan.micro_batch))
    weights = [p for p in made.objective.parameters() if p.requires_grad]

    def act() -> None:
        torch.autograd.grad(made.objective.loss(batch).total, weights, allow_unused=True)

    return act


def _shared() -> Any:  # the config of whatever strategy there is
    """Returns a data-parallel strategy that replicates the network on each device."""
    for name, one in descriptions("strategy").items():
        if one.declared.get("max_devices") is None and not one.declared.get("shards"):
            return load(f"strategy/{name}").config()
    raise LookupError("no strategy is for several devices")


def apart(trial: Trial, run: Path, n: int | None = None) -> str:
    """Returns where a run, or its first `n` steps, differs from the whole run; empty if nowhere."""
    curves = record_of(trial.whole)[:n], record_of(run)[:n]
    rounding = ROUNDING.get(trial.config.trainer.precision, COARSE)
    for mine, theirs in zip_longest(*curves, fillvalue=dict[str, Any]()):
        for name in NUMBERS:
            a = mine.get(name, math.nan)
            b = theirs.get(name, math.nan)
            if not math.isclose(a, b, rel_tol=rounding, abs_tol=rounding):
                return f"{name} of step {mine.get('step', 0):g} is {a:.9g} and {b:.9g}"
    return ""


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    name = next(k for k in {**before, **after} if before.get(k) != after.get(k))
    step = before.get("step", after.get("step"))
    return f"{name} of step {step} was {before.get(name)} and is {after.get(name)}"


def _losses(run: Path) -> str:
    losses = [line["loss"] for line in record_of(run)]
    return f"{losses[0]:.4g} to {losses[-1]:.4g}"
