"""Estimates the cost of a run before it trains; takes the arguments of train.

    etude plan objective=clm architecture=llama architecture.dim=512 architecture.n_layers=8
    etude plan init_from=outputs/base objective=dpo adapter=lora calibrate=0

Parameters, memory, FLOPs, tokens and steps come from executing the run's own code on fake tensors;
the first line is `parameters: <n>`. Wall time and measured memory come from a short real run of
calibrate=4 plain steps and a few that also save and validate, in a temporary folder; calibrate=0
skips it. A run that exceeds the memory of this machine is an error that lists settings that fit.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import import_plugins
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError
from etude.training.experiment import read_experiment

VERB = "plan"
STEPS = 4
KEY = "calibrate="


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    n_steps = steps([item for item in arguments if item.startswith(KEY)])
    line = prepare([item for item in arguments if not item.startswith(KEY)])
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        _plan(*read_experiment(composed, line.overrides), n_steps)
    return 0


def steps(arguments: Sequence[str]) -> int:
    """Returns the number of calibration steps. Raises ConfigError for an invalid number."""
    value = arguments[-1].removeprefix(KEY) if arguments else "true"
    if value in ("true", "false"):
        return STEPS if value == "true" else 0
    if not re.fullmatch(r"\d{1,6}", value):
        raise ConfigError(
            f"calibrate must be true, false or a number of steps, got {value}.\n"
            "  calibrate=0 skips the calibration run."
        )
    return int(value)


def _plan(config: ExperimentConfig, folder: Path | None, n_steps: int) -> None:
    from etude.cli.pages.plan import clocks, lines
    from etude.planning.alternatives import refuse_too_large
    from etude.planning.calibration import calibrate, seconds_of
    from etude.planning.forecast import forecast, memory, peak_memory
    from etude.training.hardware import (
        refuse_missing,  # imports torch: only after all checks
    )
    from etude.training.run import quiet
    from etude.training.run_corpus import corpus_of

    quiet()
    accelerator = config.trainer.accelerator
    refuse_missing(accelerator)
    import_plugins(config)
    corpus = corpus_of(config, folder)
    plan = forecast(config, corpus)
    refuse_too_large(config, corpus, plan)
    for line in lines(plan, memory(accelerator), peak_memory(plan, accelerator)):
        print(line, flush=True)
    if n_steps:
        measured = calibrate(config, corpus, plan, n_steps)
        for line in clocks(measured, seconds_of(config, plan, len(corpus.val), measured)):
            print(line)
