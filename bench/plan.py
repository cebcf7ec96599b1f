"""Compares the predictions of `etude plan` with measured runs: peak memory and seconds.

    python bench/plan.py [part of a name] [steps]     for example: python bench/plan.py small 100

Each cell is planned by shapes, calibrated, and then trained in a new process. On a CPU, memory is
the peak resident set of the process, including Python and libraries; on CUDA, the peak of torch's
allocator. Seconds cover steps, checkpoints and validations, not start-up.
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
from etude.training.run import quiet
from etude.training.run_corpus import corpus_of

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
SETUPS = {
    "adamw": ["optimizer=adamw"],
    "bf16 sgd": ["trainer.precision=bf16-mixed", "optimizer=sgd"],
    "lora": [LORA],
}


def cells() -> Iterator[tuple[str, list[str]]]:
    """Name and overrides of each cell of the grid; objectives vary fastest."""
    for (size, setup), objective in itertools.product(itertools.product(SIZES, SETUPS), OBJECTIVES):
        yield f"{objective} {size} {setup}", [*OBJECTIVES[objective], *SIZES[size], *SETUPS[setup]]


def measure(config: ExperimentConfig) -> tuple[dict[str, int], float]:
    """Trains in a new process; returns its peak memory in bytes by kind, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config_file.save_config(replace(config, run=folder), Path(folder))
        command = [sys.executable, "-m", "etude.planning.trial", folder]
        subprocess.run(command, check=True, capture_output=True)
        peak = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
        last = (Path(folder) / STEPS).read_text(encoding="utf-8").splitlines()[-1]
    return peak, json.loads(last)["seconds"]


def base(overrides: Sequence[str], folder: str) -> str:
    """Trains a base model for an adapter with two steps, and returns the override that uses it."""
    plain = [item for item in overrides if item != LORA]
    command = [sys.executable, "-m", "etude", "train", *plain, f"run={folder}", "logger=[]"]
    subprocess.run([*command, "trainer.max_steps=2"], check=True, capture_output=True)
    return f"init_from={folder}"


def row(name: str, overrides: Sequence[str], steps: int, folder: str) -> str:
    """One row of the table: planned, calibrated and measured."""
    common = ["logger=[]", f"trainer.max_steps={steps}", "trainer.val_samples=16"]
    common += [base(overrides, folder)] if LORA in overrides else []
    line = prepare([*overrides, *common])
    composed = composition.compose("plan", line.overrides)
    config = validate_experiment(composed, line.overrides)
    corpus = corpus_of(config)
    plan = forecast(config, corpus)
    calibration = calibrate(config, corpus, plan, 4)
    seconds = seconds_of(config, plan, len(corpus.val), calibration)
    peak, duration = measure(config)
    size = (peak["device"] or peak["process"]) / MIB
    shapes = (plan.per_device if peak["device"] else peak["before"] + plan.per_device) / MIB
    calibrated = (calibration.training if peak["device"] else calibration.process) / MIB
    return (
        f"| {name} | {shapes:.0f} | {calibrated:.0f} | {size:.0f} | {shapes / size:.2f} | "
        f"{calibrated / size:.2f} | {seconds:.1f} | {duration:.1f} | {seconds / duration:.2f} |"
    )


def main() -> None:
    """Prints a table of the cells whose name contains the first argument."""
    part, steps = [*sys.argv[1:], *("small", "100")[len(sys.argv) - 1 :]]
    quiet()
    print(
        "| run | shapes, MiB | calibrated, MiB | measured, MiB | shapes / measured "
        "| calibrated / measured | planned, s | measured, s | planned / measured |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    start = time.perf_counter()
    for name, overrides in cells():
        if part in name:
            with tempfile.TemporaryDirectory() as folder:
                print(row(name, overrides, int(steps), folder), flush=True)
    print(f"\n{steps} steps each, {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
