"""Retrains a run in a new folder and reports whether it is bit-identical.

    etude reproduce outputs/grpo/2026-01-31_12-00-00
    etude reproduce run=outputs/mine steps=20 out=outputs/again

First lists what has changed since: config, plugins, parents, data, versions, processor. Then trains
from the run's config.yaml, to its end or for the first `steps`, and compares every number of every
step, except times, and the final weights. The exit code is 0 if nothing differs, otherwise 1.
"""

import sys
from itertools import count
from pathlib import Path

from etude.cli.arguments import parse
from etude.errors import ConfigError
from etude.experiments import reproduction
from etude.files.run_folder import CONFIG, read_summary, step_lines

KEYS = ("run", "out", "steps")
SHOWN = 5
"""Maximum number of differences of the first differing step that are printed."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    values = parse("reproduce", KEYS, arguments)
    folder = Path(values["run"])
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"run={folder} is not a run folder: it has no {CONFIG}.\n"
            "  Give the folder that is the last line of `etude train`."
        )
    out = Path(values["out"]) if "out" in values else _new_folder(folder.absolute().name)
    if out.exists():
        raise ConfigError(f"out={out} already exists.\n  Give a folder that does not exist yet.")
    return _reproduce(folder, out, _steps(values.get("steps")))


def _steps(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"steps must be a positive whole number, got {text}.")
    return int(text)


def _new_folder(name: str) -> Path:
    """Returns a folder name for the replay that does not exist yet."""
    folders = (Path("outputs/reproduce", f"{name}_{n}" if n > 1 else name) for n in count(1))
    return next(folder for folder in folders if not folder.exists())


def _reproduce(folder: Path, out: Path, steps: int | None) -> int:
    finished = read_summary(folder) is not None
    if not finished:
        steps = min(steps or sys.maxsize, len(step_lines(folder)))
        if not steps:
            raise ConfigError(f"run={folder} has no logged step to reproduce.")
    changed = reproduction.conditions(folder)
    reproduction.replay(folder, out, steps)
    print("---")
    for line in changed:
        print(f"differs: {line}")
    n, differences = reproduction.compare_steps(folder, out)
    for one in differences[:SHOWN]:
        print(f"step {one.step} of {n} is the first that differs: {one}")
    if not differences:
        print(f"steps: all numbers of all {n} steps are identical")
    weights: list[str] = []
    if finished and n == len(step_lines(folder)):
        weights = list(reproduction.final_weights(folder, out))
        print("\n".join(weights or ["weights: identical digest"]))
    same = not differences and not weights
    print("bit-identical" if same else "not identical")
    print(out, flush=True)
    return 0 if same else 1
