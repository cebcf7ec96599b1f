"""Runs the stages of a model's life one after another; finished ones are skipped.

    etude pipeline pipeline=rlhf
    etude pipeline pipeline=r1 run=outputs/mine sft.trainer.max_steps=300 grpo.objective.beta=0.01

A stage is an ordinary command, `etude train ...` most of the time, in a process of its own; it
writes <run>/<stage>. <stage>.<key>=<value> changes one. The same command goes on where it stopped.
A finished stage is skipped while its command, the results it stands on, the files it reads and the
code it runs are what they were; else it says why, keeps what it gave aside, and runs again.
The last line on stdout is the folder of the pipeline.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import built
from etude.config.schema.pipeline import OWN, PipelineConfig, StageConfig, asked
from etude.errors import ConfigError
from etude.experiments.stage import ROWS, Stage, core_digests, reasons, seal

VERB = "pipeline"
SHOWN = 5
"""Reasons for which a stage is run again that are told."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    own, given = split(arguments)
    composed = composition.compose_one(VERB, prepare(own))
    if composed is None:
        return 0
    config = built(composed.config, PipelineConfig)
    place = Path(config.run or f"outputs/{composed.choices[VERB]}").absolute()
    stages = stages_of(config, given, place)
    for stage in stages:  # a wrong name is found before the first of them runs
        verb, *overrides = stage.command
        composition.check_names(verb.replace("-", "_"), prepare(overrides).overrides)
    for number, stage in enumerate(stages, start=1):
        told = f"{number}/{len(stages)} {stage.name}"
        why = reasons(stage, stages)
        if why == []:
            print(f"--- {told} is finished", flush=True)
            continue
        if why:
            print(f"--- {told} is run again:", *why[:SHOWN], sep="\n    ")
            print(f"    what it gave is kept in {_put_aside(stage.folder)}")
        core = core_digests()
        print(f"--- {told}: etude {' '.join(stage.command)}", flush=True)
        if code := _call([sys.executable, "-m", "etude", *stage.command]):
            print(f"stage {stage.name} ended with exit code {code}", file=sys.stderr)
            return code
        seal(stage, stages, core)
    print(place, flush=True)
    return 0


def split(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The arguments of the pipeline itself, and those of each stage without its name."""
    own: list[str] = []
    given: dict[str, list[str]] = {}
    for argument in arguments:
        found = re.match(r"([A-Za-z_]\w*)\.([^=]+=.*)", argument, re.DOTALL)
        if found and found[1] not in (*OWN, "hydra"):
            given.setdefault(found[1], []).append(found[2])
        else:
            own.append(argument)
    return own, given


def stages_of(
    config: PipelineConfig, given: Mapping[str, Sequence[str]], place: Path
) -> list[Stage]:
    """The stages with all that they are given. Raises ConfigError for one that there is not."""
    for name, overrides in given.items():
        if name not in config.stages:
            raise ConfigError(
                f"{name}.{overrides[0]} changes a stage, and none is called {name}.\n"
                f"  The stages are: {', '.join(config.stages)}."
            )
    return [
        _stage(name, stage, given.get(name, ()), place) for name, stage in config.stages.items()
    ]


def _stage(name: str, stage: StageConfig, given: Sequence[str], place: Path) -> Stage:
    def filled(override: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: str(place / found[1]), override)

    folder = place / name
    result = f"run={folder}" if stage.verb == "train" else f"out={folder / ROWS}"
    command = [stage.verb, *map(filled, stage.overrides), *given, result]
    return Stage(name, folder, command, sorted(asked(stage)))


def _put_aside(folder: Path) -> Path:
    """Moves what a stage gave before out of the way of what it gives next; nothing is lost."""
    places = (folder.with_name(f"{folder.name}_before{n}") for n in count(1))
    aside = next(place for place in places if not place.exists())
    folder.rename(aside)
    return aside


def _call(command: Sequence[str]) -> int:
    """Runs a command to its end; a SIGTERM is handed on, so that it saves."""
    with subprocess.Popen(command) as child:
        before = signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
        try:
            return child.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
