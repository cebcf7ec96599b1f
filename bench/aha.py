"""How answers change while a model practises: how long they are, and how many check themselves.

    etude train experiment=aha init_from=outputs/rlhf/sft run=outputs/aha
    python bench/aha.py outputs/aha

DeepSeek-AI 2025 (R1), https://arxiv.org/abs/2501.12948, figures 2 and 3, in small. Reads the steps
of runs that are finished; writes docs/aha.md and docs/aha.svg.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs"
DRAWN = {
    "reward/numeric": "answers right",
    "reward/regex": "answers that check themselves",
    "response_length": "tokens an answer",
}
SMOOTHED = 5
"""Steps that are averaged."""
TOLD = (1, 10, 20, 40, 80, 120, 160, 200)
"""Steps in the table."""


def main() -> int:
    text = (Path(sys.argv[1]) / "steps.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    steps = np.arange(SMOOTHED, len(lines) + 1)
    window = np.ones(SMOOTHED) / SMOOTHED
    curves = {
        name: np.convolve([line[name] for line in lines], window, mode="valid") for name in DRAWN
    }
    figure, axes = plt.subplots(len(DRAWN), figsize=(7, 7), sharex=True)
    for one, (name, label) in zip(axes, DRAWN.items(), strict=True):
        one.plot(steps, curves[name])
        one.set_ylabel(label)
        one.set_ylim(bottom=0)
    axes[-1].set_xlabel("steps")
    figure.tight_layout()
    figure.savefig(DOCS / "aha.svg", metadata={"Date": None})
    rows = [
        "# What practice makes of an answer",
        "",
        "Written by `bench/aha.py`, whose header says how: GRPO, paid for right sums alone, from",
        "a model that was taught to answer outright, to work it out, or to check that as well.",
        f"Answers sampled at temperature 1; means of {SMOOTHED} steps, one seed.",
        "",
        "![right, checked, length](aha.svg)",
        "",
        "| step | right | check themselves | tokens an answer |",
        "|---|---|---|---|",
    ]
    for step in (step for step in TOLD if step <= len(lines)):
        at = max(step, SMOOTHED) - SMOOTHED
        right, checked, length = (curves[name][at] for name in DRAWN)
        rows.append(f"| {step} | {right:.1%} | {checked:.1%} | {length:.1f} |")
    page = "\n".join([*rows, ""])
    (DOCS / "aha.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
