"""Trains a network: any objective, any architecture, from a tokenizer to a run folder.

    etude train objective=mlm architecture=bert
    etude train -m seed=0,1,2               a job for each value
    etude train -m sweep=lr                 a search space of conf/sweep/

The last line on stdout is the run folder. With run=<folder> a stopped run resumes, and a sweep runs
its missing jobs.
"""

from etude.config import composition
from etude.config.command_line import prepare
from etude.errors import ConfigError
from etude.training.experiment import validate_experiment

VERB = "train"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    if composition.print_if_requested(VERB, line):
        return 0
    composition.refuse_hydra_overrides(line)
    if line.multirun:
        from etude.experiments.sweeps import sweep

        return sweep(VERB, line)
    composed = composition.compose(VERB, line.overrides)
    if space := composed.choices.get("sweep"):
        raise ConfigError(f"sweep={space} is a search space, which needs -m: etude train -m ...")
    config = validate_experiment(composed, line.overrides)
    from etude.training.run import start  # imports torch: only after all checks

    print(start(config, composed.experiment, list(line.overrides)), flush=True)
    return 0
