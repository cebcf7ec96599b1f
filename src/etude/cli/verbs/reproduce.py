"""Retrains a run in a new folder and reports whether it is bit-identical.

    etude reproduce outputs/grpo/2026-01-31_12-00-00
    etude reproduce run=outputs/mine steps=20 out=outputs/again
    etude reproduce run=outputs/mine step=413       repeats one step, after the checkpoint before it

First lists what has changed since: config, plugins, parents, data, versions, processor. Then trains
from the run's config.yaml, to its end or for the first `steps`, and compares every number of every
step, except times, and the final weights. A step that was not taken, because its loss or gradient
was not finite, is repeated with `step`. The exit code is 0 if nothing differs, otherwise 1.
"""

import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from etude.cli.arguments import parse
from etude.errors import ConfigError, NonFiniteError
from etude.experiments import reproduction
from etude.files.run_folder import CHECKPOINTS, CONFIG, read_summary, step_lines
from etude.formats.checkpoint import checkpoints, path_of, step_of

KEYS = ("run", "out", "steps", "step")
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
    step = _number(values, "step")
    if step is not None:
        return _repeat(folder, out, step)
    return _reproduce(folder, out, _number(values, "steps"))


def _number(values: Mapping[str, str], key: str) -> int | None:
    text = values.get(key)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{key} must be a positive whole number, got {text}.")
    return int(text)


def _repeat(folder: Path, out: Path, step: int) -> int:
    """Repeats one step after the checkpoint before it; step 1 follows none."""
    start = path_of(folder / CHECKPOINTS, step - 1)
    if step > 1 and not start.exists():
        kept = [str(step_of(path) + 1) for path in reversed(checkpoints(folder / CHECKPOINTS))]
        raise ConfigError(
            f"step={step}: {folder} has no checkpoint of step {step - 1}.\n"
            f"  Steps that follow a checkpoint: {', '.join(kept) or 'none'}. Or give steps={step}, "
            "which trains from the first step."
        )
    try:
        reproduction.replay(folder, out, step, start if step > 1 else None)
        differences = reproduction.compare_steps(folder, out)[1]
        faults = [f"step {step} differs: {one}" for one in differences[:SHOWN]]
        if len(step_lines(folder)) < step:
            faults = [f"step {step} was taken here, but not in {folder}"]
    except NonFiniteError as error:
        print(f"---\n{error}")
        faults = [*reproduction.batch_differences(folder, out, step)]
    print("\n".join(faults or [f"step {step}: bit-identical"]))
    print(out, flush=True)
    return 1 if faults else 0


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
