"""Appends the metrics of each step as a line of JSON to a file in the run folder.

(Replace this with your source and your deviations from it.)
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
        require(self.file != "", "file must not be empty")


@plugin(SketchConfig)
class Sketch(Tracker):
    """Exceptions in a tracker become warnings; they never stop a run."""

    def __init__(self, config: SketchConfig, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / config.file

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        with self.file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self, succeeded: bool) -> None:
        """Does nothing: every line is already on disk."""
