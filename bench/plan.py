"""Holds what `etude plan` says against what runs take: peak memory and seconds, side by side.

    python bench/plan.py [part of a name] [steps]     such as: python bench/plan.py small 100

A cell is planned by shapes, calibrated, and then trained in a fresh process. Memory of a CPU is the
peak resident set of the process, Python and libraries included; of CUDA, torch's allocator's.
Seconds are those of the steps, checkpoints and validations, without starting up.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from etude.config import composition, config_file
from etude.config.command_line import prepare
from etude.config.schema.experiment import ExperimentConfig
from etude.files.run_folder import STEPS
from etude.planning.calibration import calibrate, seconds_of
from etude.planning.forecast import forecast
from etude.planning.trial import FILE
from etude.training.experiment import validate_experiment
from etude.training.run import corpus_of, quiet

MIB = 2**20
OBJECTIVES = {
    "clm": ["objective=clm"],
    "mlm": ["objective=mlm", "architecture=bert"],
    "seq2seq": ["objective=seq2seq", "architecture=t5"],
    "sft": ["objective=sft"],
    "dpo": ["objective=dpo"],
    "grpo": ["objective=grpo", "objective.max_new_tokens=16"],
    "ppo": ["objective=ppo", "objective.max_new_tokens=16"],
}
SIZES = {
    "small": ["architecture.dim=64", "architecture.n_layers=2", "data.seq_len=128"],
    "large": ["architecture.dim=256", "architecture.n_layers=6", "data.seq_len=256"],
}
LORA = "adapter=lora"
WAYS = {
    "adamw": ["optimizer=adamw"],
    "bf16 sgd": ["trainer.precision=bf16-mixed", "optimizer=sgd"],
    "lora": [LORA],
}


def cells() -> Iterator[tuple[str, list[str]]]:
    """The grid, every objective once before any of them again."""
    for (size, way), objective in itertools.product(itertools.product(SIZES, WAYS), OBJECTIVES):
        yield f"{objective} {size} {way}", [*OBJECTIVES[objective], *SIZES[size], *WAYS[way]]


def measured(config: ExperimentConfig) -> tuple[dict[str, int], float]:
    """Bytes that a run in a fresh process held, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config_file.save_config(replace(config, run=folder), Path(folder))
        command = [sys.executable, "-m", "etude.planning.trial", folder]
        subprocess.run(command, check=True, capture_output=True)
        held = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        last = (Path(folder) / STEPS).read_text(encoding="utf-8").splitlines()[-1]
    return held, json.loads(last)["seconds"]


def base(overrides: Sequence[str], folder: str) -> str:
    """What an adapter adapts: the same network after two steps of the same objective."""
    plain = [item for item in overrides if item != LORA]
    command = [sys.executable, "-m", "etude", "train", *plain, f"run={folder}", "logger=[]"]
    subprocess.run([*command, "trainer.max_steps=2"], check=True, capture_output=True)
    return f"init_from={folder}"


def row(name: str, overrides: Sequence[str], steps: int, folder: str) -> str:
    """A line of the table: planned, calibrated and measured."""
    given = ["logger=[]", f"trainer.max_steps={steps}", "trainer.val_samples=16"]
    given += [base(overrides, folder)] if LORA in overrides else []
    line = prepare([*overrides, *given])
    composed = composition.compose("plan", line.overrides)
    config = validate_experiment(composed, line.overrides)
    corpus = corpus_of(config)
    plan = forecast(config, corpus)
    one = calibrate(config, plan, 4)
    seconds = seconds_of(config, plan, len(corpus.val), one)
    held, took = measured(config)
    size = (held["device"] or held["process"]) / MIB
    shapes = (plan.a_device if held["device"] else held["before"] + plan.a_device) / MIB
    tried = (one.held if held["device"] else one.process) / MIB
    return (
        f"| {name} | {shapes:.0f} | {tried:.0f} | {size:.0f} | {shapes / size:.2f} | "
        f"{tried / size:.2f} | {seconds:.1f} | {took:.1f} | {seconds / took:.2f} |"
    )


def main() -> None:
    """Prints the table of the cells of a size, or of whatever a part of a name says."""
    part, steps = [*sys.argv[1:], *("small", "100")[len(sys.argv) - 1 :]]
    quiet()
    print(
        "| run | shapes, MiB | calibrated | measured | ratio | ratio | planned, s | took | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    began = time.perf_counter()
    for name, overrides in cells():
        if part in name:
            with tempfile.TemporaryDirectory() as folder:
                print(row(name, overrides, int(steps), folder), flush=True)
    print(f"\n{steps} steps each, in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
