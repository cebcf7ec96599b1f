"""Reward over-optimisation: PPO against a reward model, with a weak and a strong KL penalty.

    etude pipeline pipeline=rlhf
    python bench/overoptimisation.py outputs/rlhf/sft outputs/rlhf/reward outputs/overoptimisation

Both runs sample at temperature 1. The gold reward, whether the sum is correct, is logged but not
optimised. The plot follows Gao et al. 2022, https://arxiv.org/abs/2210.10760: reward-model score
and gold reward by the square root of the KL divergence. Writes docs/overoptimisation.md and .svg.
Finished runs are not trained again.
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
N_SMOOTHED = 15
"""Steps in each moving average."""


@dataclass(frozen=True)
class Curve:
    """One run by step: KL in nats per answer, mean reward-model score, fraction correct."""

    kl: np.ndarray
    score: np.ndarray
    gold: np.ndarray


def main() -> int:
    sft, reward, place = map(Path, sys.argv[1:])
    curves = {
        name: curve(
            place / name, f"init_from={sft}", f"reward.model.run={reward}", *overrides, "logger=[]"
        )
        for name, overrides in ROWS.items()
    }
    draw(curves)
    page = report(curves)
    (DOCS / "overoptimisation.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def curve(run: Path, *overrides: str) -> Curve:
    """Trains a run, unless it is finished, and returns its curve."""
    command = [sys.executable, "-m", "etude", "train", "experiment=rlhf", f"run={run}", *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    names = ("sequence_kl", "reward/model", "reward/numeric")
    return Curve(*(smooth(np.array([line[name] for line in lines])) for name in names))


def smooth(values: np.ndarray) -> np.ndarray:
    """The moving average over N_SMOOTHED steps."""
    return np.convolve(values, np.ones(N_SMOOTHED) / N_SMOOTHED, mode="valid")


def draw(curves: dict[str, Curve]) -> None:
    """Plots the score and the gold reward of each run by the square root of its KL divergence."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, one), colour in zip(curves.items(), ("C3", "C0"), strict=True):
        root = np.sqrt(np.maximum(one.kl, 0))
        axes.plot(root, one.gold, colour, label=f"{name}: correct")
        axes.plot(root, one.score, colour, linestyle=":", label=f"{name}: reward model's score")
    axes.set_xlabel("square root of the KL divergence from the initial policy, nats per answer")
    axes.legend()
    figure.tight_layout()
    figure.savefig(DOCS / "overoptimisation.svg", metadata={"Date": None})


def report(curves: dict[str, Curve]) -> str:
    """The text of docs/overoptimisation.md."""
    rows = [
        "# Over-optimisation",
        "",
        "Written by `bench/overoptimisation.py`; its header has the commands. PPO against a reward",
        f"model, sampled at temperature 1, means over {N_SMOOTHED} steps, one seed. The reward is",
        "the reward model's score; whether a sum is correct is only logged.",
        "",
        "![score and gold reward by KL divergence](overoptimisation.svg)",
        "",
        "| | correct, first | best | last | score, first | last | final KL, nats per answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in curves.items():
        rows.append(
            f"| {name}: {' '.join(ROWS[name])} | {one.gold[0]:.1%} | {one.gold.max():.1%} | "
            f"{one.gold[-1]:.1%} | {one.score[0]:.2f} | {one.score[-1]:.2f} | {one.kl[-1]:.2f} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
