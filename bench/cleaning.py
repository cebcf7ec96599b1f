"""Compares training on raw and on cleaned text: the same compute and the same held-out documents.

    LISTS="-o Acquire::Languages=en,de,fr,it,ja,pt_BR,ru -o Dir::State::lists=/tmp/lists"
    mkdir -p /tmp/lists/partial && apt-get update $LISTS
    python bench/cleaning.py /tmp/lists outputs/cleaning

The documents are real: package descriptions of Debian 12, in English and in six other languages.
What the web adds is added to them by rules (`web_pages`): copies that differ by a line, pages
without a text of their own, and wrong encodings; the constants say how much. Cleaning keeps 14 % of
these pages, and of those of CommonCrawl 12 % (RefinedWeb, Penedo et al. 2023,
https://arxiv.org/abs/2306.01116, figure 2).

A tenth of the good documents is held out, by a hash, with everything that resembles one of them.
The rest becomes the raw text. The filters make the cleaned text of it, and know nothing of how it
was made. Every run has the same number of steps of the same size, a byte-level tokenizer and a
network of width 64. Writes docs/cleaning_results.md. Finished runs are not trained again.
"""

import hashlib
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
N_DOCUMENTS = 3000
LANGUAGES = ("de", "fr", "it", "ja", "pt%5fBR", "ru")
N_FOREIGN = 800
"""Documents in each other language."""
N_EMPTY = 1500
"""Pages without a text of their own."""
COPIED, MOST_COPIES = 0.15, 20
"""Share of the good documents that have 1 to MOST_COPIES copies."""
DAMAGED = 0.2
"""Share of the good documents whose quotation marks were decoded with a wrong encoding."""
EMPTY = (
    "404 Not Found\n\nThe page that you are looking for does not exist. Go back to the start page.",
    "We use cookies to give you the best experience on our website. By continuing to browse this "
    "site, you agree to our use of cookies. Read our privacy policy. Accept all cookies.",
    "Please enable JavaScript in your browser to see this page.",
    "Sign in to your account. User name. Password. Forgot your password? Create a new account.",
    "This domain is for sale. Contact the owner for a price.",
)
SEEDS = (0, 1, 2)
N_STEPS = 400
FILTERS = (
    "filter=[unicode,language,exact,minhash]", "filter.language.keep=[en]",
    "filter.unicode.quotes=true", "filter.minhash.threshold=0.5",
)  # fmt: skip
SETTING = (
    "tokenizer=byte", "architecture.dim=64", "architecture.n_layers=2", "data.seq_len=128",
    "trainer.global_batch=16", "trainer.micro_batch=16", "trainer.accelerator=cpu",
    "trainer.val_samples=16", f"trainer.val_every={N_STEPS}", f"trainer.max_steps={N_STEPS}",
    "optimizer=normuon", "optimizer.lr=0.01", f"trainer.save_every={N_STEPS}", "logger=[]",
)  # fmt: skip


def main() -> int:
    lists, place = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    place.mkdir(parents=True, exist_ok=True)
    good = [one for one in descriptions(lists, "en", 3 * N_DOCUMENTS) if len(one) > 200][
        :N_DOCUMENTS
    ]
    cleaned(good, place / "good")
    kept_as = survivors(place / "good" / "audit.jsonl", len(good))
    held_out = [is_held_out(good[first]) for first in kept_as]
    test = [text for i, text in enumerate(good) if held_out[i] and kept_as[i] == i]
    rest = [text for text, held in zip(good, held_out, strict=True) if not held]
    foreign = [text for name in LANGUAGES for text in descriptions(lists, name, N_FOREIGN)]
    raw = web_pages(rest, foreign)
    texts = {"raw": raw, "cleaned": cleaned(raw, place / "clean")}
    bits = {
        name: [trained(name, seed, train, test, place) for seed in SEEDS]
        for name, train in texts.items()
    }
    page = report(bits, texts | {"held out": test})
    (DOCS / "cleaning_results.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def descriptions(lists: Path, language: str, n: int) -> list[str]:
    """The first descriptions in a list of apt: paragraphs whose lines begin with a space."""
    (file,) = lists.glob(f"*_bookworm_main_i18n_Translation-{language}.lz4")
    command = ["/usr/lib/apt/apt-helper", "cat-file", str(file)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^Description-(?!md5)[\w-]+: (.*(?:\n .*)*)", listed, re.MULTILINE)[:n]
    return [re.sub(r"\n ", "\n", re.sub(r"\n \.(?=\n|$)", "\n ", text)) for text in found]


def web_pages(good: Sequence[str], foreign: Sequence[str]) -> list[str]:
    """The documents as pages of a crawl, in random order."""
    rng = random.Random(0)
    pages = [*foreign, *rng.choices(EMPTY, k=N_EMPTY)]
    for text in good:
        if rng.random() < DAMAGED:  # straight marks have no wrong encoding
            curly = re.sub(r"'(?=\w)", "\u2019", re.sub(r'"(\w[^"]*)"', "\u201c\\1\u201d", text))
            text = curly.encode().decode("cp1252", "ignore")
        n = rng.randint(1, MOST_COPIES) if rng.random() < COPIED else 0
        pages += [text, *(f"{text}\nPage {rng.randint(1, 9999)}" for _ in range(n))]
    rng.shuffle(pages)
    return pages


def cleaned(texts: Sequence[str], place: Path) -> list[str]:
    """What the filters keep of texts; writes the cleaned set to a new folder."""
    if not place.exists():
        file = place.with_suffix(".raw.jsonl")
        write(file, texts)
        etude(
            ["data", "data=jsonl", f"data.path={file}", "tokenizer=byte", *FILTERS, f"out={place}"]
        )
    lines = (place / "cleaned.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def write(file: Path, texts: Sequence[str]) -> None:
    rows = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    file.write_text("".join(rows), encoding="utf-8")


def survivors(audit: Path, n: int) -> list[int]:
    """For each document, the number of the one that was kept in its place: itself or another."""
    found = list(range(n))
    for line in map(json.loads, audit.read_text(encoding="utf-8").splitlines()):
        found[line["record"]] = line.get("other", found[line["record"]])
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


def report(bits: dict[str, list[float]], texts: Mapping[str, Sequence[str]]) -> str:
    differences = [b - a for a, b in zip(bits["raw"], bits["cleaned"], strict=True)]
    found = interval(differences)
    lines = [
        "# Raw against cleaned text",
        "",
        "Written by `bench/cleaning.py`, whose header and constants say how the raw text is made "
        f"of package descriptions of Debian. Cleaned with `{' '.join(FILTERS)}`. {N_STEPS} steps "
        f"of 16 rows of 128 bytes with normuon, {len(SEEDS)} seeds; every run is evaluated on the "
        "same held-out documents.",
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
