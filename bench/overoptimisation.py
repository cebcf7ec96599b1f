"""What a reward model likes, and what is right: PPO against it, held loosely and tightly.

    etude pipeline pipeline=rlhf
    python bench/overoptimisation.py outputs/rlhf/sft outputs/rlhf/reward outputs/overoptimisation

Both runs sample at temperature 1; the gold function, whether the sum is right, is told and not
paid. The plot of Gao et al. 2022, https://arxiv.org/abs/2210.10760: score and gold by the square
root of the divergence. Writes docs/overoptimisation.md and .svg. Finished runs are not run again.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS: dict[str, tuple[str, ...]] = {
    "loose": ("objective.beta=0.01", "optimizer.lr=1e-4", "trainer.max_steps=150"),
    "tight": ("trainer.max_steps=150",),
}
SMOOTHED = 15
"""Steps that are averaged."""


@dataclass(frozen=True)
class Curve:
    """Of one run, by step: nats an answer, mean score, share right."""

    kl: np.ndarray
    score: np.ndarray
    gold: np.ndarray


def main() -> int:
    sft, reward, place = map(Path, sys.argv[1:])
    found = {
        name: curve(
            place / name, f"init_from={sft}", f"reward.model.run={reward}", *given, "logger=[]"
        )
        for name, given in ROWS.items()
    }
    draw(found)
    page = report(found)
    (DOCS / "overoptimisation.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def curve(run: Path, *given: str) -> Curve:
    """The run, trained unless it is finished."""
    command = [sys.executable, "-m", "etude", "train", "experiment=rlhf", f"run={run}", *given]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    names = ("sequence_kl", "reward/model", "reward/numeric")
    return Curve(*(smooth(np.array([line[name] for line in lines])) for name in names))


def smooth(values: np.ndarray) -> np.ndarray:
    """Running means."""
    return np.convolve(values, np.ones(SMOOTHED) / SMOOTHED, mode="valid")


def draw(found: dict[str, Curve]) -> None:
    """Score and gold of each run, the divergence below."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, one), colour in zip(found.items(), ("C3", "C0"), strict=True):
        root = np.sqrt(np.maximum(one.kl, 0))
        axes.plot(root, one.gold, colour, label=f"{name}: right")
        axes.plot(root, one.score, colour, linestyle=":", label=f"{name}: score of the model")
    axes.set_xlabel("square root of the divergence from the start, nats an answer")
    axes.legend()
    figure.tight_layout()
    figure.savefig(DOCS / "overoptimisation.svg", metadata={"Date": None})


def report(found: dict[str, Curve]) -> str:
    """The page."""
    rows = [
        "# Over-optimisation",
        "",
        "Written by `bench/overoptimisation.py`, whose header says how: PPO against a reward",
        f"model, answers sampled at temperature 1, means of {SMOOTHED} steps, one seed. What the",
        "reward model says is paid, whether a sum is right is only told.",
        "",
        "![score and gold by divergence](overoptimisation.svg)",
        "",
        "| | right at first | best | last | score at first | last | nats an answer, last |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        rows.append(
            f"| {name}: {' '.join(ROWS[name])} | {one.gold[0]:.1%} | {one.gold.max():.1%} | "
            f"{one.gold[-1]:.1%} | {one.score[0]:.2f} | {one.score[-1]:.2f} | {one.kl[-1]:.2f} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
