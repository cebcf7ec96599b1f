"""The typed shape of `etude pipeline`: stages in their order, each a command."""

import re
from dataclasses import dataclass, field

from etude.config.schema.plugins import require

OWN = ("pipeline", "run", "stages")
"""Keys of the pipeline itself; all others begin with the name of a stage."""


@dataclass
class StageConfig:
    """One command of a pipeline."""

    verb: str = "train"
    """What is called: train, label, best-of or generate."""
    overrides: list[str] = field(default_factory=list[str])
    """What it is given; {base} is the folder of the stage `base`, which stands before it."""


@dataclass
class PipelineConfig:
    """What `etude pipeline` is asked."""

    stages: dict[str, StageConfig] = field(default_factory=dict[str, StageConfig])
    """The stages, in their order."""
    run: str | None = None
    """The folder with a folder for each stage; null = outputs/<pipeline>."""

    def __post_init__(self) -> None:
        before: set[str] = set()
        for name, stage in self.stages.items():
            require(name not in OWN, f"a stage cannot be called {name}")
            unknown = sorted(asked(stage) - before)
            require(
                not unknown,
                f"stages.{name} asks for {{{', '.join(unknown)}}}, and before it there are: "
                f"{', '.join(sorted(before)) or 'none'}",
            )
            before.add(name)


def asked(stage: StageConfig) -> set[str]:
    """The names of the stages whose folders a stage asks for."""
    return {name for given in stage.overrides for name in re.findall(r"\{(\w+)\}", given)}
