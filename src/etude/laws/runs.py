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
from etude.files.run_folder import CHECKPOINTS, MODEL, SUMMARY, untimed_steps
from etude.formats.checkpoint import newest_intact
from etude.laws.trial import Trial, batch_of
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.objective.ranks import Ranks
from etude.training.assemble import TrainingParts, assemble
from etude.training.run_corpus import corpus_of

ROUNDING = {"64": 1e-9, "32": 1e-4}
COARSE = 1e-1
"""Relative differences that summation order may cause over a few steps, by precision."""
ROUNDS = 7
NUMBERS = ("loss", "grad_norm")


def it_trains(trial: Trial) -> Finding:
    """A run trains from the first step to the last, and writes its records."""
    lines = untimed_steps(trial.whole)
    steps = trial.config.trainer.max_steps
    finite = all(math.isfinite(line["loss"]) for line in lines)
    return holds(len(lines) == steps and finite, f"{len(lines)} steps, loss {_losses(trial.whole)}")


def micro_batch_size_changes_nothing(trial: Trial) -> Finding:
    """Micro-batches of 1, of 4 and of the global batch give the same loss curve."""
    if trial.plugin.declaration.batch_statistic:
        return not_applicable("it declares batch_statistic")
    whole = trial.config.trainer.global_batch
    runs = {size: trial.run(f"cut_{size}", micro_batch=size) for size in (1, whole)}
    for size, run in runs.items():
        if off := difference(trial, run):
            return broken(f"micro_batch={trial.config.trainer.micro_batch} and {size}: {off}")
    return _same(trial, f"micro_batch 1, {trial.config.trainer.micro_batch}, {whole}")


def resuming_is_bit_identical(trial: Trial) -> Finding:
    """A run that lost its last steps resumes from its checkpoint with identical results."""
    whole = trial.whole
    resumed = trial.folder / "resumed"
    shutil.copytree(whole, resumed)
    last = newest_intact(resumed / CHECKPOINTS)
    assert last is not None
    shutil.rmtree(last)
    (resumed / SUMMARY).unlink()
    if newest_intact(resumed / CHECKPOINTS) is None:
        return not_applicable("it has only the last checkpoint")
    trial.run("resumed")
    for before, after in zip_longest(untimed_steps(whole), untimed_steps(resumed)):
        if repr(before) != repr(after):  # NaN differs from itself
            return broken(f"{_first_difference(before or {}, after or {})} after resuming")
    one, two = (run / MODEL / "model.safetensors" for run in (whole, resumed))
    if one.exists() and one.read_bytes() != two.read_bytes():
        return broken("the weights of the resumed run differ")
    return held("the same step records and weights")


def two_devices_equal_one(trial: Trial) -> Finding:
    """Two processes that share each step have the loss curve of one process."""
    if trial.plugin.declaration.batch_statistic:
        return not_applicable("it declares batch_statistic")
    if trial.plugin.declaration.max_devices == 1:
        return not_applicable("it supports only one device")
    several = plugin_of(trial.config.strategy).declaration.max_devices is None
    config = trial.config if several else replace(trial.config, strategy=_data_parallel())
    run = trial.run("ranks", config, devices=2)
    if off := difference(trial, run):
        return broken(f"1 and 2 devices: {off}")
    return _same(trial, f"{plugin_of(config.strategy).address} on 2 devices")


def speed_relative_to_a_peer(trial: Trial) -> Finding:
    """Times forward and backward passes, alternating with another plugin of the group."""
    if trial.peer is None or trial.is_on_policy:
        return not_applicable("there is no other plugin to compare with")
    peer = assemble(trial.peer, corpus_of(trial.peer), Ranks())
    pair = [_timed_pass(made) for made in (trial.assemble(), peer)]
    seconds: tuple[list[float], ...] = ([], [])
    for _ in range(ROUNDS):
        for times, run_once in zip(seconds, pair, strict=True):
            began = time.perf_counter()
            run_once()
            times.append(time.perf_counter() - began)
    mine, other = (1000 * min(times) for times in seconds)  # the least disturbed runs
    return held(
        f"{mine / other:.2f} times the time of {peer_name(trial)} ({mine:.1f}, {other:.1f} ms)"
    )


def peer_name(trial: Trial) -> str:
    """Returns the name of the plugin that the tested one is timed against."""
    assert trial.peer is not None
    group = trial.plugin.address.rpartition("/")[0]
    return plugin_of(node_of(trial.peer, group)).address


def _timed_pass(made: TrainingParts) -> Callable[[], None]:
    batch = batch_of(made, range(made.plan.micro_batch))
    weights = [p for p in made.objective.parameters() if p.requires_grad]

    def run_once() -> None:
        torch.autograd.grad(made.objective.loss(batch).total, weights, allow_unused=True)

    return run_once


def _data_parallel() -> Any:  # the config of any strategy
    """Returns a data-parallel strategy that replicates the network on each device."""
    for name, one in descriptions("strategy").items():
        if one.declared.get("max_devices") is None and not one.declared.get("shards"):
            return load(f"strategy/{name}").config()
    raise LookupError("no strategy replicates the network on several devices")


def difference(trial: Trial, run: Path, n: int | None = None) -> str:
    """Returns where a run, or its first `n` steps, differs from the whole run; empty if equal."""
    curves = untimed_steps(trial.whole)[:n], untimed_steps(run)[:n]
    rounding = ROUNDING.get(trial.config.trainer.precision, COARSE)
    for mine, theirs in zip_longest(*curves, fillvalue=dict[str, Any]()):
        for name in NUMBERS:
            a = mine.get(name, math.nan)
            b = theirs.get(name, math.nan)
            are_nan = math.isnan(a) and math.isnan(b)
            if not (are_nan or math.isclose(a, b, rel_tol=rounding, abs_tol=rounding)):
                return f"{name} of step {mine.get('step', 0):g} is {a:.9g} and {b:.9g}"
    return ""


def _same(trial: Trial, what: str) -> Finding:
    """Returns held, unless there was nothing to compare."""
    if any(line.get(name) for line in untimed_steps(trial.whole) for name in NUMBERS):
        return held(f"{what}: the same losses")
    return not_applicable("every loss and gradient is 0, so nothing is compared")


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    name = next(k for k in {**before, **after} if repr(before.get(k)) != repr(after.get(k)))
    step = before.get("step", after.get("step"))
    return f"{name} of step {step} was {before.get(name)} and is {after.get(name)}"


def _losses(run: Path) -> str:
    losses = [line["loss"] for line in untimed_steps(run)]
    return f"{losses[0]:.4g} to {losses[-1]:.4g}"
