"""Sets the runs of a sweep side by side: what each choice of block does, everything else equal.

    etude train -m run=outputs/comparison experiment=comparison \
        architecture/norm=layernorm,rmsnorm architecture/position=learned,rope,alibi \
        architecture/mlp=gelu,swiglu seed=0,1
    python bench/comparison.py outputs/comparison

Writes docs/comparison.md and docs/comparison.svg. A choice is judged by pairs: two runs that
differ in it and in nothing else, seed included; intervals are two standard errors.
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
    """A finished job: what was chosen, and what came of it."""

    choice: tuple[str, ...]
    seed: int
    parameters: int
    tokens: list[int]
    values: list[float]

    @property
    def result(self) -> float:
        """The metric at the end."""
        return self.values[-1]


def main() -> int:
    folder = Path(sys.argv[1])
    runs = [read(place.parent) for place in sorted(folder.glob("*/summary.json"))]
    if not runs:
        print(f"{folder} holds no finished run.", file=sys.stderr)
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
    held = [line for line in lines if METRIC in line]
    return Run(
        names,
        config.seed,
        summary["parameters"],
        [line["tokens"] for line in held],
        [line[METRIC] for line in held],
    )


def pairs(runs: Sequence[Run], axis: int, a: str, b: str) -> list[float]:
    """Result with `a` minus result with `b`, over all pairs that differ in nothing else."""
    by_key = {(run.choice, run.seed): run.result for run in runs}
    found: list[float] = []
    for (choice, seed), result in by_key.items():
        other = (*choice[:axis], b, *choice[axis + 1 :])
        if choice[axis] == a and (other, seed) in by_key:
            found.append(result - by_key[other, seed])
    return found


def half_width(values: Sequence[float]) -> float:
    """Two standard errors of a mean."""
    return 2 * stdev(values) / math.sqrt(len(values))


def page(runs: Sequence[Run]) -> str:
    """The whole of docs/comparison.md."""
    counted = f"{len(runs)} runs, {runs[0].tokens[-1]:,} tokens each"
    lines = ["# Norm, positions, MLP: a controlled comparison", ""]
    lines += ["Written by `bench/comparison.py`; one sweep, as its header says.", ""]
    lines += [f"{counted}, {len({run.seed for run in runs})} seeds, the text every Python carries;"]
    lines += [
        f"held-out bits per byte ({METRIC}, lower is better), torch {torch.__version__}.",
        "",
        "![held-out bits per byte by choice](comparison.svg)",
        "",
        "## Pairs that differ in one choice and in nothing else",
        "",
        "| choice | A | B | A - B, bits per byte | pairs | A better in |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for axis, name in enumerate(CHOICES):
        for a, b in combinations(sorted({run.choice[axis] for run in runs}), 2):
            found = pairs(runs, axis, a, b)
            mean = fmean(found)
            wide = half_width(found)
            better = sum(value < 0 for value in found)
            lines.append(
                f"| {name} | {a} | {b} | {mean:+.3f} ± {wide:.3f} | {len(found)} | {better} |"
            )
    lines += ["", "## Every combination, mean over seeds", ""]
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
    """One panel a choice: the mean curve of each option, with all its runs behind it."""
    figure, panels = plt.subplots(1, len(CHOICES), figsize=(11, 3.6), sharey=True)
    for axis, (panel, name) in enumerate(zip(panels, CHOICES, strict=True)):
        for i, option in enumerate(sorted({run.choice[axis] for run in runs})):
            chosen = [run for run in runs if run.choice[axis] == option]
            millions = np.array(chosen[0].tokens) / 1e6
            for run in chosen:
                panel.plot(millions, run.values, color=f"C{i}", alpha=0.15, linewidth=0.8)
            mean = np.mean([run.values for run in chosen], axis=0)
            panel.plot(millions, mean, color=f"C{i}", label=option, linewidth=2)
        panel.set_title(name)
        panel.set_xlabel("million tokens")
        panel.legend(frameon=False)
    panels[0].set_ylabel("held-out bits per byte")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
