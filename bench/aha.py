"""How answers change during GRPO: accuracy, length, and how often they check themselves.

    etude train experiment=aha init_from=outputs/rlhf/sft run=outputs/aha
    python bench/aha.py outputs/aha

A small version of figures 2 and 3 of DeepSeek-AI 2025 (R1), https://arxiv.org/abs/2501.12948.
Reads the step record of a finished run; writes docs/aha.md and docs/aha.svg.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs"
METRICS = {
    "reward/numeric": "correct answers",
    "reward/regex": "answers that check themselves",
    "response_length": "tokens per answer",
}
N_SMOOTHED = 5
"""Steps in each moving average."""
TABLE_STEPS = (1, 10, 20, 40, 80, 120, 160, 200)
"""Steps in the table."""


def main() -> int:
    text = (Path(sys.argv[1]) / "steps.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    steps = np.arange(N_SMOOTHED, len(lines) + 1)
    kernel = np.ones(N_SMOOTHED) / N_SMOOTHED
    curves = {
        name: np.convolve([line[name] for line in lines], kernel, mode="valid") for name in METRICS
    }
    figure, axes = plt.subplots(len(METRICS), figsize=(7, 7), sharex=True)
    for panel, (name, label) in zip(axes, METRICS.items(), strict=True):
        panel.plot(steps, curves[name])
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    axes[-1].set_xlabel("steps")
    figure.tight_layout()
    figure.savefig(DOCS / "aha.svg", metadata={"Date": None})
    rows = [
        "# How answers change during GRPO",
        "",
        "Written by `bench/aha.py`; its header has the commands. GRPO, rewarded only for correct",
        "sums, starts from a model fine-tuned on direct answers, worked answers, and worked",
        f"answers with a check. Sampled at temperature 1; means over {N_SMOOTHED} steps, one seed.",
        "",
        "![accuracy, checks and length by step](aha.svg)",
        "",
        "| step | correct | check themselves | tokens per answer |",
        "|---|---|---|---|",
    ]
    for step in (step for step in TABLE_STEPS if step <= len(lines)):
        i = max(step, N_SMOOTHED) - N_SMOOTHED
        accuracy, checks, length = (curves[name][i] for name in METRICS)
        rows.append(f"| {step} | {accuracy:.1%} | {checks:.1%} | {length:.1f} |")
    page = "\n".join([*rows, ""])
    (DOCS / "aha.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
