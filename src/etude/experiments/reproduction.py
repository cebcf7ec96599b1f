"""Retrains a run in a new folder from its stored files, and compares the two.

The replay uses the run's config, matmul precision, number of threads and parents. It logs to no
tracker.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from etude.config import config_file
from etude.config.registry import plugin_of
from etude.errors import ConfigError
from etude.experiments.lineage import FAULTS, lineage, places_of, silenced_warnings
from etude.files.manifest import MANIFEST, read_manifest
from etude.files.run_folder import (
    ADAPTER,
    CHECKPOINTS,
    CLOCKS,
    HARDWARE,
    MODEL,
    NON_FINITE,
    STEPS,
    TOKENIZER,
    read_summary,
    run_lock,
    step_lines,
)
from etude.files.seal import read_sealed, write_sealed
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.state_tree import tensors_of
from etude.objective.ranks import Ranks
from etude.training.assemble import assemble
from etude.training.fit import fit, versions
from etude.training.inputs import read_changes, save_inputs
from etude.training.launch import launch
from etude.training.run import ACTIVITY, quiet
from etude.training.run_corpus import corpus_of

VALIDATION = "val/"
TIMED = "perf/"
SAMPLES = "samples"
TENSORS = ".safetensors"
Line: TypeAlias = dict[str, Any]  # of a step: numbers, and the digest of its samples


@dataclass(frozen=True)
class Difference:
    """A number that differs at the first step at which two runs differ."""

    step: int
    key: str
    was: Any
    now: Any

    def __str__(self) -> str:
        """Returns the number's name and by how much it differs."""
        if self.key == SAMPLES:
            return "it trained on other samples"
        if isinstance(self.was, int | float) and isinstance(self.now, int | float):
            relative = abs(self.now - self.was) / max(abs(self.was), 1e-30)
            return f"{self.key} was {self.was}, is {self.now} (relative difference {relative:.2g})"
        return f"{self.key} was {self.was}, is {self.now}"


def conditions(folder: Path) -> list[str]:
    """Returns what has changed since the run was made, one line each."""
    changed = [
        f"{one.key} {one.place}: {one.state.value}{one.note and f' ({one.note})'}"
        for one in lineage(folder).walk()
        if one.state in FAULTS
    ]
    changed += [
        f"{one['what']}: was {one['was']}, is {one['now']} (from step {one['step']})"
        for one in read_changes(folder)
    ]
    if summary := read_summary(folder):
        was: Mapping[str, str] = summary["versions"]
        now = versions()
        changed += [
            f"{name}: was {was[name]}, is {now.get(name)}"
            for name in was
            if now.get(name) != was[name]
        ]
    return changed


def replay(folder: Path, out: Path, steps: int | None, start: Path | None = None) -> None:
    """Trains the run of `folder` again in `out`, to its end or up to step `steps`.

    It begins with step 1, or after the checkpoint `start`. Raises ConfigError for a partial replay
    of a run with several processes.
    """
    quiet()
    folder = folder.absolute()
    out = out.absolute()
    with silenced_warnings():  # `conditions` reports changed plugins
        config = replace(config_file.load_config(folder), run=str(out), logger={})
    in_process = plugin_of(config.strategy).declaration.max_devices == 1
    if steps is not None and not in_process:
        raise ConfigError(
            f"step {steps}: {plugin_of(config.strategy).address} starts its own processes, "
            "which can only replay a whole run.\n  Remove step and steps."
        )
    with chdir(places_of(folder)[1]):
        corpus = corpus_of(config, folder)
        print(corpus.card)
        parts = assemble(config, corpus, Ranks(0, config.trainer.devices))
        out.mkdir(parents=True)
        write_sealed_folder(out / TOKENIZER, corpus.tokenizer.save)
        save_inputs(config, corpus, out)
        write_sealed(out / HARDWARE, read_sealed(folder / HARDWARE))
        if start is not None:
            shutil.copytree(start, out / CHECKPOINTS / start.name)
            shutil.copy(folder / STEPS, out)
        if in_process:
            last = parts.plan.steps if steps is None else min(steps, parts.plan.steps)
            fit(config, corpus, replace(parts, plan=parts.plan.until(last)), out)
        else:
            with run_lock(out, ACTIVITY) as lock:
                launch(out, config.trainer.devices, lock)


def compare_steps(folder: Path, again: Path) -> tuple[int, list[Difference]]:
    """Returns the number of common steps, and the differences at the first step that differs.

    Times are ignored; so is the validation of a replay's last step if the run has none there.
    """
    before = step_lines(folder)
    after = step_lines(again)
    n = min(len(before), len(after))
    for was, now in zip(before[:n], after[:n], strict=True):
        is_last = now["step"] == n < len(before)
        differences = [
            Difference(int(was["step"]), key, was.get(key), now.get(key))
            for key in dict.fromkeys((*was, *now))
            if not (key in CLOCKS or key.startswith(TIMED))
            and not (is_last and key.startswith(VALIDATION) and key not in was)
            and json.dumps(was.get(key)) != json.dumps(now.get(key))  # in JSON, NaN equals NaN
        ]
        if differences:
            return n, sorted(differences, key=lambda one: one.key != SAMPLES)
    return n, []


def batch_differences(folder: Path, again: Path, step: int) -> Iterator[str]:
    """Yields how the saved batches of a step that was not taken differ, by rank."""
    for place in sorted((again / NON_FINITE).glob(f"step-{step:09d}-*")):
        was = _manifest(folder / NON_FINITE / place.name)
        now = _manifest(place)
        if was is None or now is None:
            yield f"{place.name}: only one of the runs stopped at this step"
        elif was != now:
            keys = [key for key in now["facts"] if now["facts"][key] != was["facts"].get(key)]
            yield f"{place.name} differs in {', '.join(keys) or 'its tensors'}"


def _manifest(folder: Path) -> Any:  # JSON
    return read_manifest(folder) if (folder / MANIFEST).exists() else None


def final_weights(folder: Path, again: Path) -> Iterator[str]:
    """Yields each tensor file that differs between two runs, with the largest difference."""
    for name in (MODEL, ADAPTER):
        was = _tensor_files(folder / name)
        now = _tensor_files(again / name)
        for file in sorted({*was, *now}):
            if was.get(file) != now.get(file):
                by = _largest(folder / name / file, again / name / file)
                yield f"{name}/{file} differs{by}"


def _tensor_files(folder: Path) -> dict[str, str]:
    """Returns the digests of the tensor files in a folder with a manifest."""
    files = (_manifest(folder) or {"files": {}})["files"]
    return {name: entry["sha256"] for name, entry in files.items() if name.endswith(TENSORS)}


def _largest(first: Path, second: Path) -> str:
    """Returns the largest difference of any weight, as text."""
    if not (first.exists() and second.exists()):
        return ": only one of the runs has this file"
    was = tensors_of(first)
    now = tensors_of(second)
    if {k: v.shape for k, v in was.items()} != {k: v.shape for k, v in now.items()}:
        return ": its tensors have different names or shapes"
    by, name = max((float((now[k].double() - was[k].double()).abs().max()), k) for k in was)
    return f" by up to {by:.3g}, in {name}"
