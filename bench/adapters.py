"""Compares full fine-tuning with adapters: accuracy, forgetting, size on disk and time.

    etude train run=outputs/base
    python bench/adapters.py outputs/base outputs/adapters

Each row is experiment=sft with one change, and with callback=forgetting on the base model's own
held-out text. Writes docs/adapters.md. Finished runs are not trained again.
"""

import json
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS: dict[str, tuple[str, ...]] = {
    "full fine-tuning": (),
    "full fine-tuning, 25% replay": ("objective.replay={base}",),
    "lora": ("adapter=lora", "adapter.lora.rank=16", "adapter.lora.targets=['*']", "lr=5e-3"),
    "bottleneck": ("adapter=bottleneck", "lr=5e-3"),
    "prefix": ("adapter=prefix", "lr=1e-2"),
}
"""The overrides of each row. `lr` stands for optimizer.lr; adapters need a higher one."""
BITS = "val/before/bits_per_byte"


def main() -> int:
    base = Path(sys.argv[1])
    place = Path(sys.argv[2])
    rows = [row(name, train(name, changes, base, place)) for name, changes in ROWS.items()]
    before = json.loads((base / "summary.json").read_text())["metrics"]["val/bits_per_byte"]
    page = report(rows, before)
    (DOCS / "adapters.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def train(name: str, changes: tuple[str, ...], base: Path, place: Path) -> Path:
    """Trains the run of a row, unless it is finished, and returns its folder."""
    run = place / name.replace(" ", "-").replace(",", "").replace("%", "")
    command = [sys.executable, "-m", "etude", "train", "experiment=sft", f"run={run}"]
    command += [f"init_from={base}", "callback=[forgetting]", f"callback.forgetting.run={base}"]
    command += [c.format(base=base).replace("lr=", "optimizer.lr=") for c in changes]
    subprocess.run([*command, "logger=[]"], check=True, stdout=subprocess.DEVNULL)
    return run


def row(name: str, run: Path) -> str:
    """The row of the table for a finished run."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    text = (run / "steps.jsonl").read_text(encoding="utf-8")
    validations = [line for line in map(json.loads, text.splitlines()) if BITS in line]
    weights = next(folder for folder in (run / "adapter", run / "model") if folder.exists())
    size = sum(f.stat().st_size for f in weights.glob("*.safetensors"))
    half = validations[len(validations) // 2]
    end = validations[-1]
    n_trainable = summary["trainable"]
    cells = (
        name,
        f"{n_trainable:,} ({n_trainable / summary['parameters']:.1%})",
        f"{12 * n_trainable / 1e6:.1f} MB",
        f"{size / 1e6:.2f} MB",
        f"{half['val/exact_match']:.0%}",
        f"{end['val/exact_match']:.0%}",
        f"{end[BITS]:.3f}",
        f"{summary['seconds']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def report(rows: list[str], before: float) -> str:
    """The text of docs/adapters.md."""
    head = [
        "# Full fine-tuning and adapters compared",
        "",
        "Written by `bench/adapters.py`: `experiment=sft` (two-digit sums), from one base model",
        "and with one seed. Optimizer memory: 12 bytes per trainable weight, for the gradient and",
        "AdamW's two moments. Saved: the weights that the run writes. Exact: held-out sums",
        "answered exactly. Base text: bits per byte on held-out text of the base model's training",
        f"data, which was {before:.3f} before fine-tuning.",
        "",
        "| | trainable weights | optimizer memory | saved | exact, halfway | exact | base text "
        "| seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
