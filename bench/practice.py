"""Compares reinforcement learning with further fine-tuning: GRPO, DAPO, PPO and SFT, three seeds.

    etude train run=outputs/base
    etude train experiment=sft init_from=outputs/base run=outputs/sft trainer.max_steps=260
    python bench/practice.py outputs/sft outputs/practice

Each recipe starts from the fine-tuned model and is evaluated on held-out sums with greedy decoding.
On two idle cores 300 steps of GRPO take about as long as 880 of fine-tuning, so the x-axis is the
fraction of the run. Writes docs/practice.md and docs/practice.svg. Finished runs are not trained
again.
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
    """Held-out accuracy by fraction of the run, and the final KL divergence in nats per answer."""

    progress: list[float]
    accuracy: list[float]
    kl: float


def main() -> int:
    start = Path(sys.argv[1])
    place = Path(sys.argv[2])
    before = json.loads((start / "summary.json").read_text())["metrics"]["val/exact_match"]
    curves = {
        name: [curve(name, seed, overrides, start, place) for seed in SEEDS]
        for name, overrides in ROWS.items()
    }
    draw(before, curves)
    page = report(before, curves)
    (DOCS / "practice.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def curve(name: str, seed: int, overrides: tuple[str, ...], start: Path, place: Path) -> Curve:
    """Trains the run of a row and seed, unless it is finished, and returns its curve."""
    run = place / f"{name.replace(' ', '-')}-{seed}"
    command = [sys.executable, "-m", "etude", "train", *overrides, f"run={run}", f"seed={seed}"]
    subprocess.run(
        [*command, f"init_from={start}", "logger=[]"], check=True, stdout=subprocess.DEVNULL
    )
    text = (run / "steps.jsonl").read_text(encoding="utf-8")
    validations = [line for line in map(json.loads, text.splitlines()) if "val/loss" in line]
    accuracy = [line.get("val/reward", line.get("val/exact_match")) for line in validations]
    kl = validations[-1].get("sequence_kl", float("nan"))
    last = validations[-1]["step"]
    return Curve([line["step"] / last for line in validations], accuracy, kl)


def draw(before: float, curves: dict[str, list[Curve]]) -> None:
    """Plots one line per run, with one colour per recipe."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, seeds), colour in zip(curves.items(), ("C0", "C1", "C2", "C3"), strict=True):
        for i, one in enumerate(seeds):
            label = name if i == 0 else None
            axes.plot([0.0, *one.progress], [before, *one.accuracy], colour, label=label)
    axes.set_xlabel("fraction of the run")
    axes.set_ylabel("held-out accuracy")
    axes.legend()
    figure.tight_layout()
    figure.savefig(DOCS / "practice.svg", metadata={"Date": None})


def format_kl(nats: float) -> str:
    """The divergence in nats; an empty cell if the run logged none."""
    return "" if nats != nats else f"{nats:.2f}"


def report(before: float, curves: dict[str, list[Curve]]) -> str:
    """The text of docs/practice.md."""
    rows = [
        "# Reinforcement learning and further fine-tuning compared",
        "",
        "Written by `bench/practice.py`; its header has the commands. Accuracy on held-out",
        "two-digit sums with greedy decoding, three seeds; before training:",
        f"{before:.1%}. Fine-tuning sees the correct answers; reinforcement learning only whether",
        "a sampled answer is correct.",
        "",
        "![held-out accuracy by fraction of the run](practice.svg)",
        "",
        "| | accuracy | lowest and highest seed | KL, nats per answer |",
        "|---|---|---|---|",
    ]
    for name, seeds in curves.items():
        ends = [one.accuracy[-1] for one in seeds]
        rows.append(
            f"| {name} | {fmean(ends):.1%} | {min(ends):.1%}, {max(ends):.1%} | "
            f"{format_kl(fmean(one.kl for one in seeds))} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
