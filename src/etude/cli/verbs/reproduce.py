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
from etude.files.run_folder import CONFIG, step_lines, summary_of

KEYS = ("run", "out", "steps")
SHOWN = 5
"""Maximum number of differences of the first differing step that are printed."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    given = parse("reproduce", KEYS, arguments)
    folder = Path(given["run"])
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"run={folder} is not a run folder: it has no {CONFIG}.\n"
            "  It is the last line that `etude train` prints."
        )
    out = Path(given["out"]) if "out" in given else _free(folder.absolute().name)
    if out.exists():
        raise ConfigError(f"out={out} exists already.\n  Name a folder that is not there yet.")
    return _reproduce(folder, out, _steps(given.get("steps")))


def _steps(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"steps must be a whole number from 1, got {given}.")
    return int(given)


def _free(name: str) -> Path:
    """Returns a folder name for the replay that does not exist yet."""
    places = (Path("outputs/reproduce", f"{name}_{n}" if n > 1 else name) for n in count(1))
    return next(place for place in places if not place.exists())


def _reproduce(folder: Path, out: Path, steps: int | None) -> int:

    finished = summary_of(folder) is not None
    if not finished:
        steps = min(steps or sys.maxsize, len(step_lines(folder)))
        if not steps:
            raise ConfigError(f"run={folder} has not written a step that could be reproduced.")
    changed = reproduction.conditions(folder)
    reproduction.replay(folder, out, steps)
    print("---")
    for line in changed:
        print(f"not as it was: {line}")
    n, differences = reproduction.compare_steps(folder, out)
    for one in differences[:SHOWN]:
        print(f"step {one.step} of {n} is the first that differs: {one}")
    if not differences:
        print(f"steps: all {n} are the same, number by number")
    weights: list[str] = []
    if finished and n == len(step_lines(folder)):
        weights = list(reproduction.final_weights(folder, out))
        print("\n".join(weights or ["weights: the same digest"]))
    same = not differences and not weights
    print("the same bit for bit" if same else "not the same")
    print(out, flush=True)
    return 0 if same else 1
