"""Formats the plan of a run as text: its predicted cost, line by line."""

from collections.abc import Iterator

from etude.planning.calibration import Calibration
from etude.planning.forecast import Forecast

GIB = 2**30
MIB = 2**20
TOKENS_A_PARAMETER = 20
"""Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556, table 3: about 20 at every budget."""


def lines(plan: Forecast, there: int, needed: int) -> Iterator[str]:
    """Yields the lines of the plan, without times; the first line is for scripts."""
    yield f"parameters: {plan.parameters}"
    for name, n in plan.parts.items():
        yield f"  {name:<12} {n:>15,}"
    share = plan.trainable / plan.parameters
    yield f"trained: {plan.trainable:,} ({share:.2%})"
    for name, n in plan.others.items():
        yield f"beside it, {name}: {n:,}"
    held = plan.rehearsal
    yield f"memory of a device, micro-batches of {plan.micro_batch}:"
    for name in ("weights", "gradients", "optimizer", "activations", "rollout"):
        if size := vars(held)[name]:
            yield f"  {name:<12} {size / MIB:>13,.1f} MiB"
    if plan.sharded:
        yield f"  sharding      -{plan.sharded / MIB:>12,.1f} MiB"
    yield f"  {'peak':<12} {plan.a_device / MIB:>13,.1f} MiB"
    if held.cache:
        yield f"KV cache: {held.cache / MIB:,.2f} MiB a row of the greatest length"
    yield f"the machine: {needed / GIB:.2f} GiB of {there / GIB:.2f} GiB, libraries included"
    yield f"steps: {plan.steps:,} on {plan.devices} device(s), {plan.n_micro_batches} parts each"
    yield f"tokens: {plan.tokens:,.0f} ({held.tokens_a_step * plan.devices:,.0f} a step)"
    yield f"FLOPs: {plan.flops:.3g} ({held.flops_a_token:.3g} a token)"
    yield from _compute_optimal(plan)


def _compute_optimal(plan: Forecast) -> Iterator[str]:
    """Yields the compute-optimal size and tokens for the same FLOPs, if trained from scratch."""
    ratio = plan.tokens / plan.parameters
    each = plan.rehearsal.flops_a_token / plan.parameters
    best = (plan.flops / (each * TOKENS_A_PARAMETER)) ** 0.5
    yield (
        f"tokens a parameter: {ratio:.2f}; about {TOKENS_A_PARAMETER} are compute-optimal "
        f"(Hoffmann et al. 2022):"
    )
    tokens = TOKENS_A_PARAMETER * best
    yield f"  these FLOPs suggest {best:,.0f} parameters and {tokens:,.0f} tokens"


def clocks(found: Calibration, seconds: float) -> Iterator[str]:
    """Yields the measured times and memory."""
    yield (
        f"time: {_long(seconds)} ({found.step_s:.3g} s a step, {found.save_s:.2g} s a checkpoint, "
        f"{found.sample_s:.2g} s a held-out sample), of steps timed just now"
    )
    yield f"memory as measured: {found.held / MIB:,.1f} MiB beside {found.before / MIB:,.1f} MiB"


def _long(seconds: float) -> str:
    """Returns a duration in seconds as readable text."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
