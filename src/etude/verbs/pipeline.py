"""Runs the stages of a model's life one after another; finished ones are skipped.

    etude pipeline pipeline=rlhf
    etude pipeline pipeline=r1 run=outputs/mine sft.trainer.max_steps=300 grpo.objective.beta=0.01

A stage is an ordinary command, `etude train ...` most of the time, in a process of its own; it
writes <run>/<stage>. <stage>.<key>=<value> changes one. The same command goes on where it stopped.
The last line on stdout is the folder of the pipeline.
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etude import composition
from etude.command_line import prepare
from etude.config_file import built
from etude.errors import CheckpointError, ConfigError
from etude.pipeline_schema import OWN, PipelineConfig, StageConfig, asked
from etude.whole_file import write_whole

VERB = "pipeline"
STAMP = "stage.json"
"""What a finished stage was: its command, and the stamps of the stages it stands on."""
ROWS = "rows.jsonl"
"""What a stage writes that makes data."""


@dataclass(frozen=True)
class Stage:
    """A stage, ready to be called."""

    name: str
    folder: Path
    command: list[str]
    parents: list[str]

    @property
    def stamp(self) -> Path:
        return self.folder / STAMP


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
        composition.check_names(verb, prepare(overrides).overrides)
    for number, stage in enumerate(stages, start=1):
        told = f"{number}/{len(stages)} {stage.name}"
        if _is_done(stage, stages):
            print(f"--- {told} is finished", flush=True)
            continue
        print(f"--- {told}: etude {' '.join(stage.command)}", flush=True)
        if code := _call([sys.executable, "-m", "etude", *stage.command]):
            print(f"stage {stage.name} ended with exit code {code}", file=sys.stderr)
            return code
        stage.folder.mkdir(parents=True, exist_ok=True)
        write_whole(stage.stamp, json.dumps(_identity(stage, stages), indent=2) + "\n")
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


def _identity(stage: Stage, stages: Sequence[Stage]) -> dict[str, object]:
    """What makes a stage what it is."""
    stamps = {s.name: s.stamp.read_bytes() for s in stages if s.name in stage.parents}
    digests = {name: hashlib.sha256(stamp).hexdigest() for name, stamp in stamps.items()}
    return {"command": stage.command, "parents": digests}


def _is_done(stage: Stage, stages: Sequence[Stage]) -> bool:
    """Whether a stage was finished. Raises CheckpointError if what was finished is another one."""
    if not stage.stamp.exists():
        return False
    was = json.loads(stage.stamp.read_text(encoding="utf-8"))
    if was == _identity(stage, stages):
        return True
    raise CheckpointError(
        f"The stage {stage.name} was finished with another command, or stands on other stages:\n"
        f"  was: etude {' '.join(was['command'])}\n  is:  etude {' '.join(stage.command)}\n"
        f"  Name another folder with run=, or remove {stage.folder}, and what stands on it."
    )


def _call(command: Sequence[str]) -> int:
    """Runs a command to its end; a SIGTERM is handed on, so that it saves."""
    with subprocess.Popen(command) as child:
        before = signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
        try:
            return child.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
