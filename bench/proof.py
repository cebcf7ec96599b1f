"""Runs what is too slow for every commit and writes docs/proof.md: figures, date and commit.

python bench/proof.py           everything, an hour or so
python bench/proof.py --quick   one of each, printed only: does this script work?

Nothing else may run on the machine meanwhile: the benches are clocks.
"""

import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/proof.md"
TESTS = {
    "kills, ranks, sweeps, documents: every slow test but parity": [
        "-m", "slow", "--ignore=tests/plugins/layout",
    ],
    "parity with transformers: 20 shapes a family, fp32 1e-5 and fp64 1e-10": [
        "tests/plugins/layout",
    ],
}  # fmt: skip
QUICK = {"parity with transformers: one shape": ["tests/plugins/layout", "-k", "fp32 and 19"]}
BENCHES = {"nano": 40, "tiny": 20, "base": 7}
"""Shapes of bench/training.py, each with its rounds."""


@dataclass(frozen=True)
class JobRecord:
    """What a part of the proof came to."""

    name: str
    command: str
    text: str
    seconds: float
    passed: bool


def main() -> int:
    quick = sys.argv[1:] == ["--quick"]
    parts = [tested(name, arguments) for name, arguments in (QUICK if quick else TESTS).items()]
    shapes = {"nano": 2} if quick else BENCHES
    benches = [raced(shape, rounds) for shape, rounds in shapes.items()]
    text = page(parts, benches)
    if quick:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0 if all(part.passed for part in [*parts, *benches]) else 1


def tested(name: str, arguments: list[str]) -> JobRecord:
    """Runs a selection of tests on two processes; the text is pytest's last line."""
    ran = run(name, ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *arguments])
    last = ran.text.strip().rpartition("\n")[2].strip("= ")
    counts = re.sub(r" in [\d.]+s.*", "", last)
    failed = re.findall(r"^(?:FAILED|ERROR) \S+", ran.text, re.MULTILINE)
    said = "; ".join([counts, *failed])
    return JobRecord(name, ran.command, said, ran.seconds, ran.passed)


def raced(shape: str, rounds: int) -> JobRecord:
    """Runs the training bench on one shape."""
    return run(shape, ["bench/training.py", shape, str(rounds)])


def run(name: str, arguments: list[str]) -> JobRecord:
    """Runs Python in the checkout, showing the output as it comes."""
    start = time.perf_counter()
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            lines.append(line)
    seconds = time.perf_counter() - start
    command = shlex.join(["python", *arguments])
    return JobRecord(name, command, "".join(lines), seconds, process.returncode == 0)


def page(tests: list[JobRecord], benches: list[JobRecord]) -> str:
    """The whole of docs/proof.md."""
    lines = ["# Proof", "", f"Written by `make proof` {setting()}.", "", "## Tests", ""]
    lines += ["| what | result | seconds |", "| --- | --- | --- |"]
    lines += [
        f"| {part.name} | {'' if part.passed else '**failed**: '}{part.text} | {part.seconds:.0f} |"
        for part in tests
    ]
    lines += ["", "As commands:", "", "```bash", *(part.command for part in tests), "```"]
    lines += ["", "## Training speed", ""]
    lines += ["Contenders take their steps in turn; `bench/training.py` says what each is.", ""]
    for part in benches:
        lines += ["```text", part.text.rstrip() or "failed", "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def setting() -> str:
    """When, of which commit, and on what."""
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = ", with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"on {day}, commit {commit}{changed}: Python {platform.python_version()}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores ({processor()})"
    )


def processor() -> str:
    """The name of the processor, where the system tells it."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found[1] if found else platform.machine()


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
