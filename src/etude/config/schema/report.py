"""What is asked of `etude report`."""

from dataclasses import dataclass

from etude.config.schema.plugins import require
from etude.config.schema.trainer import Best


@dataclass
class ReportConfig:
    """What the page shows and where it goes."""

    out: str = "report.html"
    """The page that is written."""
    png: str | None = None
    """A picture of the page, made by an installed Chromium; null = none."""
    watch: float | None = None
    """Seconds after which the page is written anew and loads itself; null = written once."""
    metric: str = "val/loss"
    """The number that runs are ranked and compared by."""
    best: Best = Best.lowest
    """Which value of the metric is the best."""

    def __post_init__(self) -> None:
        require(self.out != "", "out names no file: it is empty")
        require(
            self.watch is None or self.watch >= 1, f"watch must be at least 1, got {self.watch}"
        )
