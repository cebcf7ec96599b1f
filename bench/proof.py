"""Runs the slow tests and benchmarks and writes docs/proof.md, with date, commit and machine.

python bench/proof.py           everything, about an hour
python bench/proof.py --quick   one of each, printed only, to test this script

Nothing else may run on the machine at the same time, because the benchmarks measure time.
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
"""Shapes of bench/training.py, each with its number of rounds."""


@dataclass(frozen=True)
class Result:
    """The result of one command."""

    name: str
    command: str
    text: str
    seconds: float
    passed: bool


def main() -> int:
    quick = sys.argv[1:] == ["--quick"]
    tests = [run_tests(name, arguments) for name, arguments in (QUICK if quick else TESTS).items()]
    shapes = {"nano": 2} if quick else BENCHES
    benches = [run_bench(shape, rounds) for shape, rounds in shapes.items()]
    text = page(tests, benches)
    if quick:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0 if all(result.passed for result in [*tests, *benches]) else 1


def run_tests(name: str, arguments: list[str]) -> Result:
    """Runs a selection of tests in two processes; the text is pytest's last line."""
    result = run(name, ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *arguments])
    last = result.text.strip().rpartition("\n")[2].strip("= ")
    counts = re.sub(r" in [\d.]+s.*", "", last)
    failures = re.findall(r"^(?:FAILED|ERROR) \S+", result.text, re.MULTILINE)
    text = "; ".join([counts, *failures])
    return Result(name, result.command, text, result.seconds, result.passed)


def run_bench(shape: str, rounds: int) -> Result:
    """Runs the training benchmark on one shape."""
    return run(shape, ["bench/training.py", shape, str(rounds)])


def run(name: str, arguments: list[str]) -> Result:
    """Runs Python in the checkout and prints its output as it arrives."""
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
    return Result(name, command, "".join(lines), seconds, process.returncode == 0)


def page(tests: list[Result], benches: list[Result]) -> str:
    """The text of docs/proof.md."""
    lines = ["# Proof", "", f"Written by `make proof` {environment()}.", "", "## Tests", ""]
    lines += ["| tests | result | seconds |", "| --- | --- | --- |"]
    lines += [
        f"| {test.name} | {'' if test.passed else '**failed**: '}{test.text} | {test.seconds:.0f} |"
        for test in tests
    ]
    lines += ["", "Commands:", "", "```bash", *(test.command for test in tests), "```"]
    lines += ["", "## Training speed", ""]
    lines += ["Contenders take turns, step by step; `bench/training.py` describes each.", ""]
    for bench in benches:
        lines += ["```text", bench.text.rstrip() or "failed", "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def environment() -> str:
    """The date, the commit, the versions and the machine."""
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = ", with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"on {day}, commit {commit}{changed}: Python {platform.python_version()}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores ({processor()})"
    )


def processor() -> str:
    """The name of the processor if the system provides it, otherwise its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    match = re.search(r"model name\s*:\s*(.*)", text)
    return match[1] if match else platform.machine()


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
