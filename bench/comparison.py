"""Compares norms, positions and MLPs in one sweep, with everything else equal.

    etude train -m run=outputs/comparison experiment=comparison \
        architecture/norm=layernorm,rmsnorm architecture/position=learned,rope,alibi \
        architecture/mlp=gelu,swiglu seed=0,1
    python bench/comparison.py outputs/comparison

Writes docs/comparison.md and docs/comparison.svg. Choices are compared in pairs of runs that differ
in that choice only, with the same seed; intervals are two standard errors.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev

import matplotlib.pyplot as plt
import numpy as np
import torch

from etude.config import config_file
from etude.config.registry import plugin_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHOICES = ("norm", "position", "mlp")
METRIC = "val/bits_per_byte"


@dataclass(frozen=True)
class Run:
    """A finished job: its choices and its validation curve."""

    choice: tuple[str, ...]
    seed: int
    parameters: int
    tokens: list[int]
    values: list[float]

    @property
    def result(self) -> float:
        """The metric at the last validation."""
        return self.values[-1]


def main() -> int:
    folder = Path(sys.argv[1])
    runs = [read(place.parent) for place in sorted(folder.glob("*/summary.json"))]
    if not runs:
        print(f"{folder} contains no finished run.", file=sys.stderr)
        return 1
    draw(runs, DOCS / "comparison.svg")
    (DOCS / "comparison.md").write_text(page(runs), encoding="utf-8")
    print(page(runs))
    return 0


def read(folder: Path) -> Run:
    """Reads a run folder."""
    config = config_file.load_config(folder)
    parts = vars(config.architecture)
    names = tuple(plugin_of(parts[name]).address.rpartition("/")[2] for name in CHOICES)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    validations = [line for line in lines if METRIC in line]
    return Run(
        names,
        config.seed,
        summary["parameters"],
        [line["tokens"] for line in validations],
        [line[METRIC] for line in validations],
    )


def pairs(runs: Sequence[Run], axis: int, a: str, b: str) -> list[float]:
    """The result with `a` minus the result with `b`, for each pair equal in everything else."""
    by_key = {(run.choice, run.seed): run.result for run in runs}
    differences: list[float] = []
    for (choice, seed), result in by_key.items():
        other = (*choice[:axis], b, *choice[axis + 1 :])
        if choice[axis] == a and (other, seed) in by_key:
            differences.append(result - by_key[other, seed])
    return differences


def half_width(values: Sequence[float]) -> float:
    """Two standard errors of a mean."""
    return 2 * stdev(values) / math.sqrt(len(values))


def page(runs: Sequence[Run]) -> str:
    """The text of docs/comparison.md."""
    counts = f"{len(runs)} runs of {runs[0].tokens[-1]:,} tokens each"
    lines = ["# Norm, positions, MLP: a controlled comparison", ""]
    lines += ["Written by `bench/comparison.py`; its header has the sweep command.", ""]
    lines += [f"{counts}, {len({run.seed for run in runs})} seeds, on `data=python_docs`;"]
    lines += [
        f"held-out bits per byte ({METRIC}, lower is better), torch {torch.__version__}.",
        "",
        "![held-out bits per byte by choice](comparison.svg)",
        "",
        "## Pairs of runs that differ in one choice",
        "",
        "| choice | A | B | A - B, bits per byte | pairs | A is better in |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for axis, name in enumerate(CHOICES):
        for a, b in combinations(sorted({run.choice[axis] for run in runs}), 2):
            deltas = pairs(runs, axis, a, b)
            mean = fmean(deltas)
            error = half_width(deltas)
            better = sum(value < 0 for value in deltas)
            lines.append(
                f"| {name} | {a} | {b} | {mean:+.3f} ± {error:.3f} | {len(deltas)} | {better} |"
            )
    lines += ["", "## All combinations, mean over seeds", ""]
    lines += ["| " + " | ".join(CHOICES) + " | bits per byte | spread | parameters |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    cells = {run.choice: [r for r in runs if r.choice == run.choice] for run in runs}
    for choice, cell in sorted(cells.items(), key=lambda item: fmean(r.result for r in item[1])):
        results = [run.result for run in cell]
        lines.append(
            f"| {' | '.join(choice)} | {fmean(results):.3f} | {max(results) - min(results):.3f} "
            f"| {cell[0].parameters:,} |"
        )
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Run], file: Path) -> None:
    """One panel per choice: the mean curve of each option, and its runs in a lighter shade."""
    figure, panels = plt.subplots(1, len(CHOICES), figsize=(11, 3.6), sharey=True)
    for axis, (panel, name) in enumerate(zip(panels, CHOICES, strict=True)):
        for i, option in enumerate(sorted({run.choice[axis] for run in runs})):
            members = [run for run in runs if run.choice[axis] == option]
            millions = np.array(members[0].tokens) / 1e6
            for run in members:
                panel.plot(millions, run.values, color=f"C{i}", alpha=0.15, linewidth=0.8)
            mean = np.mean([run.values for run in members], axis=0)
            panel.plot(millions, mean, color=f"C{i}", label=option, linewidth=2)
        panel.set_title(name)
        panel.set_xlabel("million tokens")
        panel.legend(frameon=False)
    panels[0].set_ylabel("held-out bits per byte")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
