"""Replays a run in a new folder, and says whether it is the same bit for bit.

    etude reproduce outputs/grpo/2026-01-31_12-00-00
    etude reproduce run=outputs/mine steps=20 out=outputs/again

First what is no longer as it was: config, plugins, parents, data, versions, processor. Then the run
is trained from its own config.yaml, to its end or for the first steps, and every number of every
step is compared, but for clocks, and the final weights. Exit code 0 if nothing differs, else 1.
"""

import sys
from itertools import count
from pathlib import Path

from etude.cli.arguments import answered
from etude.errors import ConfigError
from etude.files.run_folder import CONFIG, step_lines, summary_of

KEYS = ("run", "out", "steps")
SHOWN = 5
"""Numbers of the first step that differs that are told."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    given = answered("reproduce", KEYS, arguments)
    folder = Path(given["run"])
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"run={folder} is no run folder: it has no {CONFIG}.\n"
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
    """A folder for the replay of a run, which is not there yet."""
    places = (Path("outputs/reproduce", f"{name}_{n}" if n > 1 else name) for n in count(1))
    return next(place for place in places if not place.exists())


def _reproduce(folder: Path, out: Path, steps: int | None) -> int:
    from etude.experiments import reproduction  # torch: only once nothing can be refused any more

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
    n, differences = reproduction.compared(folder, out)
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
