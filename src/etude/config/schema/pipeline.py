"""Config of `etude pipeline`: a sequence of stages, each a command."""

import re
from dataclasses import dataclass, field

from etude.config.schema.plugins import require

OWN = ("pipeline", "run", "stages")
"""Keys of the pipeline itself; all others begin with a stage name."""


@dataclass
class StageConfig:
    """One command of a pipeline."""

    verb: str = "train"
    """Command to run: train, label, best-of or generate."""
    overrides: list[str] = field(default_factory=list[str])
    """Arguments of the command; {base} is the folder of the earlier stage `base`."""


@dataclass
class PipelineConfig:
    """Config of `etude pipeline`."""

    stages: dict[str, StageConfig] = field(default_factory=dict[str, StageConfig])
    """The stages, in execution order."""
    run: str | None = None
    """Folder that contains a subfolder for each stage; null = outputs/<pipeline>."""

    def __post_init__(self) -> None:
        before: set[str] = set()
        for name, stage in self.stages.items():
            require(name not in OWN, f"stages.{name}: {name} is a reserved name")
            unknown = sorted(stage_names(stage) - before)
            require(
                not unknown,
                f"stages.{name} refers to {{{', '.join(unknown)}}}, but the stages before it are: "
                f"{', '.join(sorted(before)) or 'none'}",
            )
            before.add(name)


def stage_names(stage: StageConfig) -> set[str]:
    """The names of the stages that the overrides of a stage refer to."""
    return {name for item in stage.overrides for name in re.findall(r"\{(\w+)\}", item)}
