"""Sets ways of fine-tuning side by side: what each learns, what it forgets, what it holds.

    etude train run=outputs/base
    python bench/adapters.py outputs/base outputs/adapters

Each row is the recipe sft with one thing changed, and callback=forgetting on the base's own
held-out text. Writes docs/adapters.md. Finished runs are not run again.
"""

import json
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS: dict[str, tuple[str, ...]] = {
    "every weight": (),
    "every weight, a quarter replayed": ("objective.replay={base}",),
    "lora": ("adapter=lora", "adapter.lora.rank=16", "adapter.lora.targets=['*']", "lr=5e-3"),
    "bottleneck": ("adapter=bottleneck", "lr=5e-3"),
    "prefix": ("adapter=prefix", "lr=1e-2"),
}
"""What is changed; adapters want a rate of their own."""
BITS = "val/before/bits_per_byte"


def main() -> int:
    base = Path(sys.argv[1])
    place = Path(sys.argv[2])
    rows = [row(name, trained(name, changed, base, place)) for name, changed in ROWS.items()]
    before = json.loads((base / "summary.json").read_text())["metrics"]["val/bits_per_byte"]
    page = report(rows, before)
    (DOCS / "adapters.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def trained(name: str, changed: tuple[str, ...], base: Path, place: Path) -> Path:
    """The run of a row, trained unless it is finished."""
    run = place / name.replace(" ", "-").replace(",", "")
    command = [sys.executable, "-m", "etude", "train", "experiment=sft", f"run={run}"]
    command += [f"init_from={base}", "callback=[forgetting]", f"callback.forgetting.run={base}"]
    command += [c.format(base=base).replace("lr=", "optimizer.lr=") for c in changed]
    subprocess.run([*command, "logger=[]"], check=True, stdout=subprocess.DEVNULL)
    return run


def row(name: str, run: Path) -> str:
    """What a run learned, forgot and held, as a row of the table."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    text = (run / "steps.jsonl").read_text(encoding="utf-8")
    measured = [line for line in map(json.loads, text.splitlines()) if BITS in line]
    kept = next(folder for folder in (run / "adapter", run / "model") if folder.exists())
    size = sum(f.stat().st_size for f in kept.glob("*.safetensors"))
    half = measured[len(measured) // 2]
    end = measured[-1]
    learns = summary["trainable"]
    cells = (
        name,
        f"{learns:,} ({learns / summary['parameters']:.1%})",
        f"{12 * learns / 1e6:.1f} MB",
        f"{size / 1e6:.2f} MB",
        f"{half['val/exact_match']:.0%}",
        f"{end['val/exact_match']:.0%}",
        f"{end[BITS]:.3f}",
        f"{summary['seconds']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def report(rows: list[str], before: float) -> str:
    """The page."""
    head = [
        "# Ways of fine-tuning, side by side",
        "",
        "Written by `bench/adapters.py`: the recipe `sft` (sums of two digits) from one base, one",
        "seed. Moments: 12 bytes a weight that learns, for its gradient and AdamW's two moments.",
        "Saved: what the run leaves, beside the base. Right: held-out sums answered exactly.",
        f"Base text: held-out bits a byte of what the base learned from; before, {before:.3f}.",
        "",
        "| | weights that learn | moments | saved | right, halfway | right | base text | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
