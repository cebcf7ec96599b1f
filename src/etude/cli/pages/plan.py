"""Formats the plan of a run as text: its predicted cost, line by line."""

from collections.abc import Iterator

from etude.planning.calibration import Calibration
from etude.planning.forecast import Forecast

GIB = 2**30
MIB = 2**20
TOKENS_PER_PARAMETER = 20
"""Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556, table 3: about 20 at every budget."""


def lines(plan: Forecast, available: int, needed: int) -> Iterator[str]:
    """Yields the lines of the plan, without times; the first line is for scripts."""
    yield f"parameters: {plan.parameters}"
    for name, n in plan.parts.items():
        yield f"  {name:<12} {n:>15,}"
    share = plan.trainable / plan.parameters
    yield f"trainable: {plan.trainable:,} ({share:.2%})"
    for name, n in plan.others.items():
        yield f"parameters of {name}: {n:,}"
    step = plan.step
    yield f"memory per device, micro-batches of {plan.micro_batch}:"
    for name in ("weights", "gradients", "optimizer", "activations", "rollout"):
        if size := vars(step)[name]:
            yield f"  {name:<12} {size / MIB:>13,.1f} MiB"
    if plan.sharded:
        yield f"  sharding      -{plan.sharded / MIB:>12,.1f} MiB"
    yield f"  {'peak':<12} {plan.per_device / MIB:>13,.1f} MiB"
    if step.cache:
        yield f"KV cache: {step.cache / MIB:,.2f} MiB per row of maximum length"
    yield f"total with libraries: {needed / GIB:.2f} GiB of {available / GIB:.2f} GiB"
    each = f"{plan.n_micro_batches} micro-batches each"
    yield f"steps: {plan.steps:,} on {plan.devices} device(s), {each}"
    yield f"tokens: {plan.tokens:,.0f} ({step.tokens_per_step * plan.devices:,.0f} per step)"
    yield f"FLOPs: {plan.flops:.3g} ({step.flops_per_token:.3g} per token)"
    yield from plan.notes
    yield from _compute_optimal(plan)


def _compute_optimal(plan: Forecast) -> Iterator[str]:
    """Yields the compute-optimal size and tokens for the same FLOPs, if trained from scratch."""
    ratio = plan.tokens / plan.parameters
    factor = plan.step.flops_per_token / plan.parameters  # FLOPs per token and parameter
    best = (plan.flops / (factor * TOKENS_PER_PARAMETER)) ** 0.5
    yield (
        f"tokens per parameter: {ratio:.2f}; about {TOKENS_PER_PARAMETER} are compute-optimal "
        f"(Hoffmann et al. 2022):"
    )
    tokens = TOKENS_PER_PARAMETER * best
    yield f"  these FLOPs suggest {best:,.0f} parameters and {tokens:,.0f} tokens"


def clocks(measured: Calibration, seconds: float) -> Iterator[str]:
    """Yields the measured times and memory."""
    yield (
        f"time: {_duration(seconds)} ({measured.step_s:.3g} s per step, "
        f"{measured.save_s:.2g} s per checkpoint, {measured.sample_s:.2g} s per validation sample)"
    )
    libraries = measured.before / MIB
    yield f"measured memory: {measured.training / MIB:,.1f} MiB + {libraries:,.1f} MiB of libraries"


def _duration(seconds: float) -> str:
    """Returns a duration in seconds as readable text."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
