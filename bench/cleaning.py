"""Compares training on raw and on cleaned text: the same compute and the same held-out documents.

    apt-get update -o Acquire::Languages=en -o Dir::State::lists=/tmp/lists
    python bench/cleaning.py /tmp/lists/*bookworm_main_i18n_Translation-en.lz4 outputs/cleaning

The text is the first 6,000 package descriptions of Debian, which have real duplicates: the packages
of one source repeat each other. `exact` and `minhash` clean it. A tenth of the kept documents is
held out, by a hash, with everything that was dropped as a copy of one of them; the rest is the
training text, with its copies (raw) and without (cleaned). Every run has the same number of steps
of the same size, a byte-level tokenizer and a network of width 64. Writes docs/cleaning_results.md.
Finished runs are not trained again.
"""

import hashlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from etude.cli.main import main as etude
from etude.cli.pages.report.statistics import interval
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.registry import build, load
from etude.files.run_folder import SUMMARY
from etude.records import Record, Text
from etude.training.run import start

DOCS = Path(__file__).resolve().parents[1] / "docs"
N_DOCUMENTS = 6000
SEEDS = (0, 1, 2)
N_STEPS = 400
THRESHOLD = 0.5
SETTING = (
    "tokenizer=byte", "architecture.dim=64", "architecture.n_layers=2", "data.seq_len=128",
    "trainer.global_batch=16", "trainer.micro_batch=16", "trainer.accelerator=cpu",
    "trainer.val_samples=16", "trainer.val_every=200", f"trainer.max_steps={N_STEPS}",
    "optimizer.lr=3e-3", f"trainer.save_every={N_STEPS}", "logger=[]",
)  # fmt: skip


def main() -> int:
    place = Path(sys.argv[2])
    torch.set_num_threads(1)
    place.mkdir(parents=True, exist_ok=True)
    texts = descriptions(Path(sys.argv[1]))
    write(place / "source.jsonl", texts)
    source = ["data=jsonl", f"data.path={place / 'source.jsonl'}", "tokenizer=byte"]
    if not (place / "clean").exists():
        filters = ["filter=[exact,minhash]", f"filter.minhash.threshold={THRESHOLD}"]
        etude(["data", *source, *filters, f"out={place / 'clean'}"])
    kept_as = survivors(place / "clean" / "audit.jsonl", len(texts))
    held_out = [is_held_out(texts[first]) for first in kept_as]
    raw = [text for text, held in zip(texts, held_out, strict=True) if not held]
    kept = [(text, held_out[i]) for i, text in enumerate(texts) if kept_as[i] == i]
    cleaned = [text for text, held in kept if not held]
    test = [text for text, held in kept if held]
    bits = {
        name: [trained(name, seed, train, test, place) for seed in SEEDS]
        for name, train in (("raw", raw), ("cleaned", cleaned))
    }
    page = report(bits, {"raw": raw, "cleaned": cleaned, "held out": test})
    (DOCS / "cleaning_results.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def descriptions(file: Path) -> list[str]:
    """The first descriptions in a list of apt: paragraphs whose lines begin with a space."""
    command = ["/usr/lib/apt/apt-helper", "cat-file", str(file)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^Description-en: (.*(?:\n .*)*)", listed, re.MULTILINE)[:N_DOCUMENTS]
    return [re.sub(r"\n ", "\n", re.sub(r"\n \.(?=\n|$)", "\n ", text)) for text in found]


def write(file: Path, texts: Sequence[str]) -> None:
    rows = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    file.write_text("".join(rows), encoding="utf-8")


def survivors(audit: Path, n: int) -> list[int]:
    """For each document, the number of the one that was kept in its place: itself or another."""
    found = list(range(n))
    for line in map(json.loads, audit.read_text(encoding="utf-8").splitlines()):
        found[line["record"]] = line["other"]
    return [i if found[i] == i else found[found[i]] for i in range(n)]  # exact, then minhash


def is_held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 26


def trained(name: str, seed: int, train: Sequence[str], test: Sequence[str], place: Path) -> float:
    """Trains a run, unless it is finished, and returns its bits per byte on the held-out texts."""
    run = place / f"{name}-{seed}"
    write(place / f"{name}.jsonl", train)
    if not (run / SUMMARY).exists():
        own = ["data=jsonl", f"data.path={place / f'{name}.jsonl'}", f"run={run}", f"seed={seed}"]
        start(to_experiment(compose("train", [*SETTING, *own]).config), "cleaning", [])
    records: list[Record] = [Text(text) for text in test]
    scorer: Any = load("filter/perplexity").config  # whose type is found at run time
    scores = list(build(scorer(run=str(run))).scores(records))
    return sum(nats for nats, _ in scores) / math.log(2) / sum(size for _, size in scores)


def report(bits: dict[str, list[float]], texts: dict[str, Sequence[str]]) -> str:
    differences = [b - a for a, b in zip(bits["raw"], bits["cleaned"], strict=True)]
    found = interval(differences)
    lines = [
        "# Raw against cleaned text",
        "",
        f"Written by `bench/cleaning.py`; its header has the rules. {N_DOCUMENTS:,} package "
        f"descriptions of Debian, cleaned with `filter=[exact,minhash] "
        f"filter.minhash.threshold={THRESHOLD:g}`; {N_STEPS} steps of 16 rows of 128 bytes, "
        f"{len(SEEDS)} seeds. Every run is evaluated on the same held-out cleaned documents.",
        "",
        "| text | documents | bytes | held-out bits per byte, by seed |",
        "|---|---|---|---|",
    ]
    for name in bits:
        size = sum(len(text.encode()) for text in texts[name])
        shown = ", ".join(f"{one:.4f}" for one in bits[name])
        lines.append(f"| {name} | {len(texts[name]):,} | {size:,} | {shown} |")
    size = sum(len(text.encode()) for text in texts["held out"])
    lines += [
        "",
        f"{len(texts['held out']):,} documents of {size:,} bytes are held out.",
        f"Cleaned minus raw, in pairs of one seed: {found.mean:+.4f} ± {found.half:.4f} bits per "
        "byte (95 %, Student's t).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
