"""Sets practice beside more teaching: GRPO, DAPO, PPO and fine-tuning of one model, three seeds.

    etude train run=outputs/base
    etude train experiment=sft init_from=outputs/base run=outputs/sft trainer.max_steps=260
    python bench/practice.py outputs/sft outputs/practice

Each recipe goes on from the fine-tuned model and is measured on held-out sums, answered greedily.
On two idle cores 300 steps of GRPO take about as long as 880 of fine-tuning, so curves are drawn
by share of the run. Writes docs/practice.md and docs/practice.svg. Finished runs are not run again.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEEDS = (0, 1, 2)
ROWS: dict[str, tuple[str, ...]] = {
    "grpo": ("experiment=grpo",),
    "dapo": ("experiment=grpo", "objective=dapo", "objective.max_new_tokens=8"),
    "ppo": ("experiment=ppo",),
    "more sft": ("experiment=sft", "optimizer.lr=5e-4", "trainer.max_steps=880"),
}


@dataclass(frozen=True)
class Curve:
    """Held-out share right, by share of the run."""

    done: list[float]
    right: list[float]
    kl: float


def main() -> int:
    start = Path(sys.argv[1])
    place = Path(sys.argv[2])
    before = json.loads((start / "summary.json").read_text())["metrics"]["val/exact_match"]
    found = {
        name: [curve(name, seed, given, start, place) for seed in SEEDS]
        for name, given in ROWS.items()
    }
    draw(before, found)
    page = report(before, found)
    (DOCS / "practice.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def curve(name: str, seed: int, given: tuple[str, ...], start: Path, place: Path) -> Curve:
    """The run of a row and seed, trained unless it is finished."""
    run = place / f"{name.replace(' ', '-')}-{seed}"
    command = [sys.executable, "-m", "etude", "train", *given, f"run={run}", f"seed={seed}"]
    subprocess.run(
        [*command, f"init_from={start}", "logger=[]"], check=True, stdout=subprocess.DEVNULL
    )
    text = (run / "steps.jsonl").read_text(encoding="utf-8")
    measured = [line for line in map(json.loads, text.splitlines()) if "val/loss" in line]
    right = [line.get("val/reward", line.get("val/exact_match")) for line in measured]
    kl = measured[-1].get("sequence_kl", float("nan"))
    return Curve([line["step"] / measured[-1]["step"] for line in measured], right, kl)


def draw(before: float, found: dict[str, list[Curve]]) -> None:
    """One line a run; a colour a recipe."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, curves), colour in zip(found.items(), ("C0", "C1", "C2", "C3"), strict=True):
        for i, one in enumerate(curves):
            label = name if i == 0 else None
            axes.plot([0.0, *one.done], [before, *one.right], colour, label=label)
    axes.set_xlabel("share of the run")
    axes.set_ylabel("held-out sums right")
    axes.legend()
    figure.tight_layout()
    figure.savefig(DOCS / "practice.svg", metadata={"Date": None})


def told(nats: float) -> str:
    """Nothing where no divergence was measured."""
    return "" if nats != nats else f"{nats:.2f}"


def report(before: float, found: dict[str, list[Curve]]) -> str:
    """The page."""
    rows = [
        "# Practice beside more teaching",
        "",
        "Written by `bench/practice.py`, whose header says how: held-out sums of two digits,",
        f"answered greedily; three seeds. Before: {before:.1%}. Teaching sees right answers,",
        "practice only whether its own are right.",
        "",
        "![held-out sums right](practice.svg)",
        "",
        "| | right after | lowest and highest seed | divergence, nats an answer |",
        "|---|---|---|---|",
    ]
    for name, curves in found.items():
        ends = [one.right[-1] for one in curves]
        rows.append(
            f"| {name} | {fmean(ends):.1%} | {min(ends):.1%}, {max(ends):.1%} | "
            f"{told(fmean(one.kl for one in curves))} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
