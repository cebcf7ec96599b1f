"""The curves of runs for the page: downsampled, smoothed, over every available axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

from etude.cli.pages.report.runs import Row, Run
from etude.cli.pages.report.statistics import moving_average

Column: TypeAlias = list[float | None]
WEIGHTS = (0.0, 0.9, 0.98)
"""Smoothing weights of the training curves; validation metrics are not smoothed."""
MAX_POINTS = 400
MIN_POINTS = 80
MAX_POINTS_TOTAL = 6000
"""Points per curve: maximum, minimum, and the maximum of all curves of one metric."""
AXES = {
    "step": "steps",
    "tokens": "tokens",
    "seconds": "seconds",
    "flops": "FLOPs",
}
ROW_AXES = ("step", "tokens", "seconds")
HELD_OUT = "val/"
SPEED = "perf/"
ON_POLICY = (
    "reward", "reward_std", "kl", "sequence_kl", "beta", "entropy", "response_length", "truncated",
    "clip_fraction_low", "clip_fraction_high", "ratio", "zero_variance", "excluded",
    "value_loss", "policy_loss", "value_clip_fraction", "explained_variance",
)  # fmt: skip
OPTIMISATION = ("grad_norm", "lr", "skipped")
EXACT = ("lr", "skipped", "beta")
"""Metrics without noise, which are never smoothed."""
FEW_STEPS = 100
"""Runs with fewer steps are not smoothed by default."""


@dataclass(frozen=True)
class Cost:
    """FLOPs per token, and their source."""

    flops: float
    source: str


def cost(run: Run, others: Sequence[Run]) -> Cost | None:
    """Returns the measured FLOPs per token, otherwise 6 per parameter.

    A running run has the size of a finished one with the same network. Kaplan et al. 2020,
    https://arxiv.org/abs/2001.08361, table 1: 2 for the forward pass and 4 for the backward pass,
    excluding attention scores.
    """
    measured = [
        row["perf/flops_per_s"] / row["perf/tokens_per_s"]
        for row in run.perf
        if row.get("perf/flops_per_s") and row.get("perf/tokens_per_s")
    ]
    if measured:
        return Cost(median(measured), "measured by callback=throughput")
    same_network = (other for other in others if _network(other) == _network(run) and run.config)
    n = next((one.parameters for one in (run, *same_network) if one.parameters), None)
    return None if n is None else Cost(6 * n, "6 x parameters x tokens")


def curve_data(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the tables of each run: columns of `x` by axis, of `y` by metric and smoothing."""
    most = min(MAX_POINTS, max(MIN_POINTS, MAX_POINTS_TOTAL // max(1, len(runs))))
    found: list[dict[str, Any]] = []
    for run in runs:
        run_cost = cost(run, runs)
        flops = None if run_cost is None else run_cost.flops
        held_out = [row for row in run.steps if any(key.startswith(HELD_OUT) for key in row)]
        tables = [
            _table(run.steps, _metrics(run.steps, ""), flops, most, WEIGHTS),
            _table(held_out, _metrics(held_out, HELD_OUT), flops, most, (0.0,)),
            _table(_with_axes(run), _metrics(run.perf, SPEED), flops, most, (0.0,)),
        ]
        found.append({"tables": tables})
    return found


def panels(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the charts in order: title, table number and metrics."""
    held_out = _all(runs, HELD_OUT)
    train = _all(runs, "")
    is_on_policy = {"reward", "entropy"} <= set(train)
    rewarded = [name for name in ON_POLICY if name in train] if is_on_policy else []
    tuned = [name for name in OPTIMISATION if name in train]
    losses = [name for name in train if name not in (*rewarded, *tuned)]
    speed = sorted({key for run in runs for key in _metrics(run.perf, SPEED)})
    return [
        {"title": title, "table": table, "metrics": metrics}
        for title, table, metrics in (
            ("Held out", 1, held_out),
            ("Training", 0, losses),
            ("Reinforcement", 0, rewarded),
            ("Optimisation", 0, tuned),
            ("Throughput", 2, speed),
        )
        if metrics
    ]


def thin_indices(values: Sequence[float | None], most: int) -> list[int]:
    """Returns indices of at most `most` values: first, last and the extremes of each section."""
    n = len(values)
    if n <= most:
        return list(range(n))
    chosen = {0, n - 1}
    n_sections = max(1, (most - 2) // 2)
    for k in range(n_sections):
        section = range(k * n // n_sections, (k + 1) * n // n_sections)
        known = [(value, i) for i in section if (value := values[i]) is not None]
        if known:
            chosen |= {min(known)[1], max(known)[1]}
    return sorted(chosen)


def _table(
    rows: Sequence[Row],
    metrics: Sequence[str],
    flops: float | None,
    most: int,
    weights: Sequence[float],
) -> dict[str, Any]:
    first: Column = [row.get(metrics[0]) for row in rows] if metrics else []
    kept = thin_indices(first, most)
    axes: dict[str, Column] = {axis: [rows[i].get(axis) for i in kept] for axis in ROW_AXES}
    if flops is not None:
        axes["flops"] = [None if t is None else t * flops for t in axes["tokens"]]
    levels: dict[str, list[Column]] = {}
    for name in metrics:
        whole: Column = [row.get(name) for row in rows]
        smooth = (moving_average(whole, w) for w in (weights[:1] if name in EXACT else weights))
        levels[name] = [_short([level[i] for i in kept]) for level in smooth]
    return {"x": {axis: _short(values) for axis, values in axes.items()}, "y": levels}


def _metrics(rows: Sequence[Row], prefix: str) -> list[str]:
    """Returns the columns with the prefix; without one, the training metrics, loss first."""
    names = dict.fromkeys(key for row in rows for key in row)
    if prefix:
        return [name for name in names if name.startswith(prefix)]
    return [name for name in names if "/" not in name and name not in ROW_AXES]


def _all(runs: Sequence[Run], prefix: str) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in _metrics(run.steps, prefix)))


def _with_axes(run: Run) -> list[Row]:
    """Returns the speed measurements with the tokens and seconds of their step."""
    at = {row["step"]: row for row in run.steps}
    return [
        {**{axis: at[row["step"]].get(axis) for axis in ROW_AXES}, **row}
        for row in run.perf
        if row.get("step") in at
    ]


def _network(run: Run) -> Mapping[str, Any]:
    parts = ("architecture", "tokenizer", "adapter")
    return {key: run.config[key] for key in run.config if key.split(".")[0] in parts}


def _short(values: Sequence[float | None]) -> Column:
    """Rounds to six significant digits; integers have no decimal point."""
    rounded = [None if value is None else float(f"{value:.6g}") for value in values]
    return [int(v) if v is not None and v.is_integer() and abs(v) < 1e15 else v for v in rounded]
