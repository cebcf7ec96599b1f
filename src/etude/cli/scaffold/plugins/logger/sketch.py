"""One line of JSON a step, in a file of the run folder.

(Name your own source here, and what you do otherwise.)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etude import plugin, require
from etude.config import LoggerConfig
from etude.training import Tracker


@dataclass
class SketchConfig(LoggerConfig):
    file: str = "sketch.jsonl"
    """Name of the file in the run folder."""

    def __post_init__(self) -> None:
        require(self.file != "", "file has no name: it is empty")


@plugin(SketchConfig)
class Sketch(Tracker):
    """Whatever it raises is a warning, never the end of a run."""

    def __init__(self, config: SketchConfig, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / config.file

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        with self.file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self, succeeded: bool) -> None:
        """Every line is on disk already."""
