"""Compares optimizers: steps to a fixed loss, all tuned by the same budget.

    python bench/optimizers.py outputs/optimizers

Each optimizer trains with the same number of learning rates, spaced by a factor of about 3, on seed
0; the rate with the lowest final validation loss trains with the other seeds. All runs have the
same network, text, order of samples and constant schedule, since a decay would belong to one end of
the run only. The loss to reach is that of tuned AdamW at its last step, on its worst seed.
Steps are compared in pairs of runs with the same seed; intervals are Student's t, 95 %, of log
ratios. Writes docs/optimizers.md and docs/optimizers.svg. Finished runs are not trained again.
"""

import contextlib
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
import torch

from etude.cli.pages.report.statistics import interval
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.files.run_folder import read_summary, untimed_steps
from etude.training.run import start

DOCS = Path(__file__).resolve().parents[1] / "docs"
BASE = "adamw"
RATES: Mapping[str, Sequence[float]] = {
    BASE: (3e-4, 1e-3, 3e-3, 1e-2),
    "lion": (3e-4, 1e-3, 3e-3, 1e-2),
    "muon": (3e-3, 1e-2, 3e-2, 1e-1),
    "normuon": (3e-3, 1e-2, 3e-2, 1e-1),
    "soap": (1e-3, 3e-3, 1e-2, 3e-2),
    "schedule_free": (3e-3, 1e-2, 3e-2, 1e-1),
    "sgd": (3e-2, 1e-1, 3e-1, 1.0),
    "adafactor": (3e-3, 1e-2, 3e-2, 1e-1),
}
SEEDS = (0, 1, 2)
N_STEPS, EVERY = 400, 25
SETTING = (
    "tokenizer=byte", "architecture.dim=64", "architecture.n_layers=2", "data.seq_len=128",
    "schedule=constant", "schedule.warmup_steps=20", "optimizer.weight_decay=0",
    "trainer.global_batch=16", "trainer.micro_batch=16", "trainer.accelerator=cpu",
    "trainer.val_samples=64", f"trainer.val_every={EVERY}", f"trainer.max_steps={N_STEPS}",
    f"trainer.save_every={N_STEPS}", "logger=[]",
)  # fmt: skip
Curve = Mapping[int, float]
"""Validation loss in bits per byte, by step."""


def main() -> int:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    tuning = {
        name: {rate: curve(folder, name, rate, SEEDS[0]) for rate in rates}
        for name, rates in RATES.items()
    }
    best = {name: min(found, key=lambda rate: final(found[rate])) for name, found in tuning.items()}
    curves = {name: [curve(folder, name, best[name], seed) for seed in SEEDS] for name in RATES}
    target = max(final(one) for one in curves[BASE])
    draw(curves, best, target)
    (DOCS / "optimizers.md").write_text(page(tuning, best, curves, target), encoding="utf-8")
    return 0


def curve(folder: Path, name: str, rate: float, seed: int) -> Curve:
    """Trains a run if it is not finished, and returns its validation losses."""
    run = folder / f"{name}_{rate:g}_{seed}"
    if read_summary(run) is None:
        began = time.perf_counter()
        own = (f"optimizer={name}", f"optimizer.lr={rate:g}", f"seed={seed}", f"run={run}")
        config = to_experiment(compose("train", [*SETTING, *own]).config)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            start(config, "bench", [])
        print(f"{run.name} {time.perf_counter() - began:.1f} s", flush=True)
    lines = untimed_steps(run)
    return {int(x["step"]): x["val/bits_per_byte"] for x in lines if "val/bits_per_byte" in x}


def final(one: Curve) -> float:
    """Returns the last loss; infinite if it is NaN."""
    return one[N_STEPS] if math.isfinite(one[N_STEPS]) else math.inf


def steps_to(one: Curve, target: float) -> float | None:
    """Returns the first step at which a curve, linear between validations, reaches a loss."""
    points = sorted(one.items())
    for (before, high), (after, low) in pairwise(points):
        if high > target >= low:
            return before + (after - before) * (high - target) / (high - low)
    return None


def page(
    tuning: Mapping[str, Mapping[float, Curve]],
    best: Mapping[str, float],
    curves: Mapping[str, Sequence[Curve]],
    target: float,
) -> str:
    """Returns the document."""
    reached = {n: [steps_to(one, target) for one in curves[n]] for n in curves}
    lines = [
        "# Optimizers compared",
        "",
        f"Written by `bench/optimizers.py`; its header has the rules. A decoder of width 64 with 2 "
        f"layers on the text of the standard library's documentation, {N_STEPS} steps of 16 rows "
        f"of 128 bytes, {len(SEEDS)} seeds, {len(RATES[BASE])} rates each on "
        "one seed, no weight decay.",
        f"The loss to reach is {target:.3f} bits per byte: tuned AdamW at its last step, on "
        "its worst seed.",
        "So small a network and so short a run rank optimizers for such runs only.",
        "",
        "![validation loss by step](optimizers.svg)",
        "",
        "| optimizer | best rate | steps to the loss | relative to adamw, same seed | last loss |",
        "|---|---|---|---|---|",
    ]
    order = sorted(curves, key=lambda name: fmean(map(final, curves[name])))
    for name in order:
        edge = " (the end of its grid)" if best[name] in (RATES[name][0], RATES[name][-1]) else ""
        steps = [found for found in reached[name] if found is not None]
        pairs = [(a, b) for a, b in zip(reached[name], reached[BASE], strict=True) if a and b]
        ratios = interval([math.log(a / b) for a, b in pairs]) if len(pairs) > 1 else None
        relative = "-" if ratios is None or name == BASE else percent(ratios.mean, ratios.half)
        missed = len(reached[name]) - len(steps)
        taken = f"{fmean(steps):.0f}" if steps else "not reached"
        taken += f" ({missed} of {len(SEEDS)} seeds do not reach it)" if steps and missed else ""
        last = interval([final(one) for one in curves[name]]).text()
        lines.append(f"| {name} | {best[name]:g}{edge} | {taken} | {relative} | {last} |")
    lines += [
        "",
        "## Last loss by rate, seed 0",
        "",
        "| optimizer | rate: bits per byte |",
        "|---|---|",
    ]
    for name in order:
        found = ", ".join(f"{rate:g}: {final(one):.3f}" for rate, one in tuning[name].items())
        lines.append(f"| {name} | {found} |")
    return "\n".join(lines) + "\n"


def percent(mean: float, half: float | None) -> str:
    """Returns an interval of log ratios as percentages."""
    low, middle, high = (math.exp(mean + d) - 1 for d in (-(half or 0), 0.0, half or 0))
    return f"{middle:+.0%} ({low:+.0%} to {high:+.0%})"


def draw(curves: Mapping[str, Sequence[Curve]], best: Mapping[str, float], target: float) -> None:
    """Draws the mean curve of each tuned optimizer."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for name, found in curves.items():
        steps = sorted(found[0])
        axes.plot(
            steps, [fmean(c[s] for c in found) for s in steps], label=f"{name} {best[name]:g}"
        )
    axes.axhline(target, color="grey", linewidth=0.8)
    axes.set(xlabel="step", ylabel="held-out bits per byte", ylim=(target - 0.4, target + 2))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "optimizers.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
