"""Runs the stages of a training pipeline in order; finished stages are skipped.

    etude pipeline pipeline=rlhf
    etude pipeline pipeline=r1 run=outputs/mine sft.trainer.max_steps=300 grpo.objective.beta=0.01

A stage is an ordinary command, usually `etude train ...`, in its own process; it writes to
<run>/<stage>. <stage>.<key>=<value> overrides one key. The same command continues where it stopped.
A finished stage is skipped if its command, the results it depends on, the files it reads and its
code are unchanged; otherwise the reason is printed, its old results are moved aside, and it runs
again. The last line on stdout is the folder of the pipeline.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType

from etude.config import composition
from etude.config.command_line import config_name, prepare
from etude.config.config_file import build_config
from etude.config.schema.pipeline import OWN, PipelineConfig, StageConfig, stage_names
from etude.errors import ConfigError
from etude.experiments.stage import ROWS, Stage, core_digests, reasons, write_stamp
from etude.processes import EXIT_CODES, end_with_parent, handling

VERB = "pipeline"
SHOWN = 5
"""Maximum number of reasons printed for rerunning a stage."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    own, stage_overrides = split(arguments)
    composed = composition.compose_one(VERB, prepare(own))
    if composed is None:
        return 0
    config = build_config(composed.config, PipelineConfig)
    folder = Path(config.run or f"outputs/{composed.choices[VERB]}").absolute()
    stages = stages_of(config, stage_overrides, folder)
    for stage in stages:  # reports unknown keys before the first stage runs
        verb, *overrides = stage.command
        composition.check_names(config_name(verb), prepare(overrides).overrides)
    for number, stage in enumerate(stages, start=1):
        title = f"{number}/{len(stages)} {stage.name}"
        changes = reasons(stage, stages)
        if changes == []:
            print(f"--- {title} is finished", flush=True)
            continue
        if changes:
            print(f"--- {title} is rerun:", *changes[:SHOWN], sep="\n    ")
            print(f"    its old results are kept in {_move_aside(stage.folder)}")
        core = core_digests()
        print(f"--- {title}: etude {' '.join(stage.command)}", flush=True)
        if code := _call([sys.executable, "-m", "etude", *stage.command]):
            print(f"stage {stage.name} ended with exit code {code}", file=sys.stderr)
            return code
        write_stamp(stage, stages, core)
    print(folder, flush=True)
    return 0


def split(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the pipeline's own arguments, and each stage's without the stage prefix."""
    own: list[str] = []
    stages: dict[str, list[str]] = {}
    for argument in arguments:
        match = re.match(r"([A-Za-z_]\w*)\.([^=]+=.*)", argument, re.DOTALL)
        if match and match[1] not in (*OWN, "hydra"):
            stages.setdefault(match[1], []).append(match[2])
        else:
            own.append(argument)
    return own, stages


def stages_of(
    config: PipelineConfig, stage_overrides: Mapping[str, Sequence[str]], folder: Path
) -> list[Stage]:
    """Returns the stages with their commands. Raises ConfigError for an unknown stage name."""
    for name, overrides in stage_overrides.items():
        if name not in config.stages:
            raise ConfigError(
                f"{name}.{overrides[0]}: the pipeline has no stage {name}.\n"
                f"  Its stages are: {', '.join(config.stages)}."
            )
    return [
        _stage(name, stage, stage_overrides.get(name, ()), folder)
        for name, stage in config.stages.items()
    ]


def _stage(name: str, stage: StageConfig, overrides: Sequence[str], folder: Path) -> Stage:
    def fill(override: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: str(folder / match[1]), override)

    result = f"run={folder / name}" if stage.verb == "train" else f"out={folder / name / ROWS}"
    command = [stage.verb, *map(fill, stage.overrides), *overrides, result]
    return Stage(name, folder / name, command, sorted(stage_names(stage)))


def _move_aside(folder: Path) -> Path:
    """Renames a stage's previous results, so that the rerun overwrites nothing."""
    names = (folder.with_name(f"{folder.name}_before{n}") for n in count(1))
    free = next(name for name in names if not name.exists())
    folder.rename(free)
    return free


def _call(command: Sequence[str]) -> int:
    """Runs a command to its end, and returns its exit code; a signal reaches it, so that it saves.

    It also stops if this process is killed.
    """
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        child.send_signal(number)

    stop_with_parent = partial(end_with_parent, signal.SIGTERM)
    with (
        subprocess.Popen(command, start_new_session=True, preexec_fn=stop_with_parent) as child,
        handling(forward),
    ):
        code = child.wait()
    if code and received:
        return EXIT_CODES[signal.Signals(received[-1])]
    if code < 0:
        print(f"it was killed by signal {-code} ({signal.Signals(-code).name})", file=sys.stderr)
    return code if code >= 0 else 1
